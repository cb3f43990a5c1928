/*
 * The open sockets to the daemon. A socket carries one call at a time; the pool lends it out and
 * takes it back. The only lock here is never held while waiting.
 */
#ifndef THSM_POOL_H
#define THSM_POOL_H

#include <stdbool.h>
#include <stdint.h>

enum acquired {
  ACQUIRED,
  ACQUIRE_UNREACHABLE,  /* nobody answers, or nothing is free: try again later */
  ACQUIRE_BUSY,         /* the daemon takes no more connections, from us or from anybody */
  ACQUIRE_DENIED,       /* this process may not connect to the socket */
  ACQUIRE_INCOMPATIBLE, /* somebody answers who does not speak this protocol version */
  ACQUIRE_CLOSED        /* C_Finalize was called in the meantime */
};

struct connection {
  int fd;
  unsigned entry;
  bool reused;
  int error; /* with ACQUIRE_UNREACHABLE: why connecting failed, 0 when it did not */
};

/* Starts a new application, with a new random id, for one life between Initialize and Finalize. */
bool pool_open(uint64_t generation, const char *path);
/* Ends it: idle sockets are closed, and calls in flight wake up with a broken connection. */
void pool_close(void);
/* After fork(): closes the child's copies of the parent's sockets. Takes no lock. */
void pool_abandon_in_child(void);

/* An idle socket, or else a new one that has passed the hello; `silence_ms` is for its answer. */
enum acquired pool_acquire(uint64_t generation, int64_t silence_ms, int64_t deadline, struct connection *connection);
void pool_release(struct connection *connection);
void pool_discard(struct connection *connection);
/* Closes what is idle; with no call in flight, the daemon then forgets the application's login. */
void pool_close_idle(void);

#endif
