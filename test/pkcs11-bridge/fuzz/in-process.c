#include "in-process.h"

#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "outage.h"
#include "pkcs11.h"
#include "rpc.h"
#include "secret.h"
#include "socket.h"

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_poll(struct pollfd *entries, nfds_t count, int timeout_ms);

static struct reader script;
static uint8_t sent[8192], received[1 << 17];
static size_t sent_size, received_size, received_at;
static int64_t clock_ms = 1000;

void answer_from(const uint8_t *data, size_t size)
{
  script = reader_over(data, size);
  /* Each input begins with a daemon that was well. */
  for (enum op op = 0; op < OP_COUNT; op++) outage_over(op);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
  (void)clock;
  *now = (struct timespec){.tv_sec = clock_ms / 1000, .tv_nsec = clock_ms % 1000 * 1000000};
  return 0;
}

int __wrap_poll(struct pollfd *entries, nfds_t count, int timeout_ms)
{
  (void)entries;
  (void)count;
  clock_ms += timeout_ms > 0 ? timeout_ms : 1;
  return 0;
}

bool config_load(struct config *config, char *why, size_t why_size)
{
  (void)why;
  (void)why_size;
  *config = (struct config){.socket = "/fuzz", .timeout_ms = 2000, .keygen_timeout_ms = 3000, .token_count = 2,
                            .tokens = {"dns", "other"}};
  return true;
}

void log_line(const char *format, ...) { (void)format; }

/* A real descriptor, for the pool looks at it; nothing ever comes over it. */
int socket_create(void) { return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

enum io socket_connect(int fd, const char *path)
{
  (void)fd;
  (void)path;
  return IO_OK;
}

static void write_attribute(struct writer *to, CK_ATTRIBUTE_TYPE type, uint8_t kind, const void *value, size_t size)
{
  write_u32(to, (uint32_t)type);
  write_u8(to, kind);
  write_bytes(to, value, size);
}

static void write_object(struct writer *to, uint64_t handle)
{
  static const uint8_t modulus[MODULUS_SIZE] = {0xc0, 1}, exponent[] = {1, 0, 1};
  bool private = (handle & 1) != 0;
  uint8_t class[8] = {0, 0, 0, 0, 0, 0, 0, private ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY}, yes = 1, as_private = private;
  static const CK_ATTRIBUTE_TYPE private_uses[] = {CKA_SIGN, CKA_DECRYPT, CKA_DESTROYABLE, CKA_MODIFIABLE, CKA_SENSITIVE};
  static const CK_ATTRIBUTE_TYPE public_uses[] = {CKA_VERIFY, CKA_ENCRYPT, CKA_COPYABLE, CKA_MODIFIABLE, CKA_TOKEN};
  write_u64(to, handle);
  write_u16(to, 10);
  write_attribute(to, CKA_CLASS, 2, class, sizeof class);
  write_attribute(to, CKA_PRIVATE, 1, &as_private, 1);
  write_attribute(to, CKA_MODULUS, 0, modulus, sizeof modulus);
  write_attribute(to, CKA_PUBLIC_EXPONENT, 0, exponent, sizeof exponent);
  write_attribute(to, CKA_PRIVATE_EXPONENT, 3, NULL, 0);
  for (int i = 0; i < 5; i++) write_attribute(to, private ? private_uses[i] : public_uses[i], 1, &yes, 1);
}

static void write_good_body(struct writer *to, uint8_t op)
{
  static const uint8_t zeros[MODULUS_SIZE], revision[16] = "a revision......";
  switch (op) {
  case OP_LOGIN:
  case OP_SET_PIN:
    write_bytes(to, zeros, TICKET_SIZE);
    break;
  case OP_KEYS:
    write_fixed(to, revision, sizeof revision);
    write_u8(to, 1);
    write_u32(to, 2);
    write_u16(to, 2);
    write_object(to, PUBLIC_HANDLE);
    write_object(to, PRIVATE_HANDLE);
    break;
  case OP_SIGN:
  case OP_ENCRYPT:
    write_bytes(to, zeros, MODULUS_SIZE);
    break;
  case OP_DECRYPT:
    write_bytes(to, zeros, 32);
    break;
  case OP_GENERATE:
    write_u64(to, PUBLIC_HANDLE);
    write_u64(to, PRIVATE_HANDLE);
    break;
  case OP_STORE:
    write_u64(to, PUBLIC_HANDLE);
    break;
  default:
    break;
  }
}

static enum io answer_request(uint32_t id, uint8_t op)
{
  struct writer to = writer_over(received, sizeof received);
  uint8_t how = script.left > 0 ? (uint8_t)(read_u8(&script) % ANSWERS) : ANSWER_GOOD;
  struct bytes bytes = how == ANSWER_GOOD ? (struct bytes){0} : read_bytes(&script);
  if (how == ANSWER_BROKEN) return IO_BROKEN;
  if (how == ANSWER_RAW) write_fixed(&to, bytes.data, bytes.size);
  else if (how != ANSWER_SILENCE) {
    write_u32(&to, 0);
    write_u32(&to, id);
    if (how != ANSWER_AFTER_ID) {
      write_u8(&to, 0);
      write_u32(&to, how == ANSWER_CODE && bytes.size > 0 ? bytes.data[0] | 0x100 : 0);
    }
    if (how == ANSWER_GOOD) write_good_body(&to, op);
    else if (bytes.size > 0) write_fixed(&to, bytes.data, bytes.size);
    struct writer length = writer_over(received, 4);
    write_u32(&length, (uint32_t)(to.size - 4));
  }
  received_size = to.size;
  received_at = 0;
  return IO_OK;
}

static void answer_hello(void)
{
  struct writer to = writer_over(received, sizeof received);
  write_u32(&to, 15);
  write_fixed(&to, "thsm-p11", 8);
  write_u16(&to, 2);
  write_u32(&to, 0);
  write_u8(&to, 0);
  received_size = to.size;
  received_at = 0;
}

enum io socket_send(int fd, struct iovec *pieces, size_t count, int64_t deadline)
{
  (void)fd;
  (void)deadline;
  sent_size = 0;
  for (size_t i = 0; i < count; i++) {
    if (pieces[i].iov_len > sizeof sent - sent_size) __builtin_trap(); /* no request is as long as that */
    if (pieces[i].iov_len > 0) memcpy(sent + sent_size, pieces[i].iov_base, pieces[i].iov_len);
    sent_size += pieces[i].iov_len;
  }
  struct reader reader = reader_over(sent, sent_size);
  if (read_u32(&reader) != sent_size - 4) __builtin_trap();
  if (sent_size >= 12 && memcmp(sent + 4, "thsm-p11", 8) == 0) {
    answer_hello();
    return IO_OK;
  }
  uint32_t id = read_u32(&reader);
  return answer_request(id, read_u8(&reader));
}

enum io socket_receive(int fd, void *data, size_t size, int64_t deadline)
{
  (void)fd;
  if (size > received_size - received_at) {
    if (clock_ms < deadline) clock_ms = deadline;
    return IO_TIMEOUT;
  }
  memcpy(data, received + received_at, size);
  received_at += size;
  return IO_OK;
}
