#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

int socket_create(void)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  /* A daemon that closed its standard streams will reopen them over this number: stay above. */
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  (void)close(fd);
  return higher;
}

enum io socket_connect(int fd, const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length >= sizeof address.sun_path) return IO_BROKEN;
  memcpy(address.sun_path, path, length);
  /* Unix sockets connect at once or not at all: EAGAIN means that the backlog is full. */
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return IO_OK;
  return errno == EACCES || errno == EPERM ? IO_DENIED : IO_BROKEN;
}

static enum io wait_for(int fd, short events, int64_t deadline)
{
  for (;;) {
    int64_t left = deadline - clock_now();
    if (left <= 0) return IO_TIMEOUT;
    struct pollfd entry = {.fd = fd, .events = events};
    int ready = poll(&entry, 1, left > INT_MAX ? INT_MAX : (int)left);
    if (ready > 0) return (entry.revents & POLLNVAL) != 0 ? IO_BROKEN : IO_OK;
    if (ready < 0 && errno != EINTR) return IO_BROKEN;
  }
}

static int is_transient(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static void consume(struct iovec **pieces, size_t *count, size_t sent)
{
  while (*count > 0 && sent >= (*pieces)->iov_len) {
    sent -= (*pieces)->iov_len;
    (*pieces)++;
    (*count)--;
  }
  if (*count > 0) {
    (*pieces)->iov_base = (uint8_t *)(*pieces)->iov_base + sent;
    (*pieces)->iov_len -= sent;
  }
}

enum io socket_send(int fd, struct iovec *pieces, size_t count, int64_t deadline)
{
  while (count > 0) {
    struct msghdr message = {.msg_iov = pieces};
    message.msg_iovlen = (__typeof__(message.msg_iovlen))count; /* an int in musl */
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      consume(&pieces, &count, (size_t)sent);
      continue;
    }
    if (!is_transient()) return IO_BROKEN;
    enum io state = wait_for(fd, POLLOUT, deadline);
    if (state != IO_OK) return state;
  }
  return IO_OK;
}

enum io socket_receive(int fd, void *data, size_t size, int64_t deadline)
{
  uint8_t *at = data;
  while (size > 0) {
    ssize_t got = recv(fd, at, size, MSG_DONTWAIT);
    if (got > 0) {
      at += got;
      size -= (size_t)got;
      continue;
    }
    if (got == 0 || !is_transient()) return IO_BROKEN;
    enum io state = wait_for(fd, POLLIN, deadline);
    if (state != IO_OK) return state;
  }
  return IO_OK;
}
