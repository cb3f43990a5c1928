/* Unix stream sockets with a deadline on every step: no SIGPIPE, nothing inherited by exec. */
#ifndef THSM_SOCKET_H
#define THSM_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum io { IO_OK, IO_TIMEOUT, IO_BROKEN, IO_DENIED, IO_MEMORY };

/* A non-blocking socket, not yet connected; −1 when there is none to be had. */
int socket_create(void);
/* IO_DENIED: this process may not connect there. */
enum io socket_connect(int fd, const char *path);
/* Sends all the pieces, or fails. The pieces are used up. */
enum io socket_send(int fd, struct iovec *pieces, size_t count, int64_t deadline);
/* Receives exactly `size` bytes, or fails. */
enum io socket_receive(int fd, void *data, size_t size, int64_t deadline);

#endif
