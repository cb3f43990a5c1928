#include "hello.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "socket.h"
#include "wire.h"

static const char magic[8] = {'t', 'h', 's', 'm', '-', 'p', '1', '1'};

enum { VERSION = 2, FEATURES = 0, PROGRAM_MAX = 64, WELCOME_SIZE = 15 };
enum status { STATUS_WELCOME = 0, STATUS_VERSION = 1, STATUS_BUSY = 2, STATUS_REFUSED = 3 };

static enum greeting incompatible(uint16_t version)
{
  static atomic_bool logged;
  if (!atomic_exchange(&logged, true)) {
    log_line("the daemon speaks protocol version %u and this module version %d: install the same "
             "release of both and restart this application", version, VERSION);
  }
  return GREETING_INCOMPATIBLE;
}

/* Coming back would not help: the call fails at once, and an administrator finds out why. */
static enum greeting refused(void)
{
  static atomic_bool logged;
  if (!atomic_exchange(&logged, true)) {
    log_line("the daemon refuses the user of this process: let peers in pkcs11d.toml name it");
  }
  return GREETING_INCOMPATIBLE;
}

static enum greeting judge(const uint8_t *frame, size_t size)
{
  struct reader reader = reader_over(frame, size);
  const uint8_t *greeting = read_fixed(&reader, sizeof magic);
  uint16_t version = read_u16(&reader);
  (void)read_u32(&reader); /* features: none is defined yet */
  uint8_t status = read_u8(&reader);
  if (!reader_done(&reader) || memcmp(greeting, magic, sizeof magic) != 0) return incompatible(0);
  if (version != VERSION || status == STATUS_VERSION) return incompatible(version);
  if (status == STATUS_REFUSED) return refused();
  if (status == STATUS_BUSY) return GREETING_BUSY;
  return status == STATUS_WELCOME ? GREETING_WELCOME : GREETING_NONE;
}

enum greeting hello(int fd, const uint8_t application[HELLO_APPLICATION_SIZE], int64_t silence_ms, int64_t deadline)
{
  int64_t limit = clock_now() + silence_ms;
  if (deadline < limit) limit = deadline;

  uint8_t body[128];
  struct writer writer = writer_over(body, sizeof body);
  write_u32(&writer, 0); /* the frame's length, below */
  write_fixed(&writer, magic, sizeof magic);
  write_u16(&writer, VERSION);
  write_u32(&writer, FEATURES);
  write_fixed(&writer, application, HELLO_APPLICATION_SIZE);
  write_u32(&writer, (uint32_t)getpid());
  write_bytes(&writer, program_invocation_short_name, strnlen(program_invocation_short_name, PROGRAM_MAX));
  struct writer length = writer_over(body, 4);
  write_u32(&length, (uint32_t)(writer.size - 4));

  struct iovec piece = {.iov_base = body, .iov_len = writer.size};
  enum io state = socket_send(fd, &piece, 1, limit);
  explicit_bzero(body, sizeof body);
  uint8_t answer[4 + WELCOME_SIZE];
  if (state == IO_OK) state = socket_receive(fd, answer, 4, limit);
  if (state != IO_OK) return GREETING_NONE;
  struct reader reader = reader_over(answer, 4);
  if (read_u32(&reader) != WELCOME_SIZE) return incompatible(0);
  if (socket_receive(fd, answer + 4, WELCOME_SIZE, limit) != IO_OK) return GREETING_NONE;
  return judge(answer + 4, WELCOME_SIZE);
}
