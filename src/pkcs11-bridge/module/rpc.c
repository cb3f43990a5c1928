#include "rpc.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hello.h"
#include "log.h"
#include "outage.h"
#include "pool.h"
#include "socket.h"

enum { FRAME_MAX = 1024 * 1024, REPLY_HEADER = 9 };
/* A daemon that starts opens its socket to others a moment after it made it. */
enum { DENIED_MS = 5000 };
/* For a first sign of life in an outage that is known. */
enum { BRIEF_MS = 3000 };
enum { DELAY_FIRST_MS = 20, DELAY_MAX_MS = 500 };
enum kind { KIND_FINAL = 0, KIND_WORKING = 1, KIND_RETRY = 2 };
enum outcome { ANSWERED, ASKED_TO_RETRY, BROKEN, WITHOUT_MEMORY };

static atomic_uint next_id;
static atomic_bool outage;

void reply_free(struct reply *reply)
{
  if (reply->frame != NULL) explicit_bzero(reply->frame, reply->size);
  free(reply->frame);
  reply->frame = NULL;
}

CK_RV rpc_malformed(void)
{
  log_line("the daemon's reply does not follow the protocol");
  return CKR_DEVICE_ERROR;
}

static enum io send_request(int fd, uint32_t id, const struct call *call, int64_t deadline)
{
  /* The daemon gives up a little earlier, so that its own error arrives instead of silence. */
  int64_t left = deadline - clock_now();
  left = left > 0 ? left - left / 16 : 0;
  uint8_t header[13];
  struct writer writer = writer_over(header, sizeof header);
  write_u32(&writer, (uint32_t)(sizeof header - 4 + call->body->size));
  write_u32(&writer, id);
  write_u8(&writer, (uint8_t)call->op);
  write_u32(&writer, (uint32_t)left);
  struct iovec pieces[2] = {{.iov_base = header, .iov_len = sizeof header},
                            {.iov_base = call->body->start, .iov_len = call->body->size}};
  return socket_send(fd, pieces, 2, deadline);
}

static enum io receive_frame(int fd, struct reply *reply, int64_t silence_ms, int64_t deadline)
{
  int64_t limit = clock_now() + silence_ms;
  if (deadline < limit) limit = deadline;
  uint8_t length[4];
  enum io state = socket_receive(fd, length, sizeof length, limit);
  if (state != IO_OK) return state;
  struct reader reader = reader_over(length, sizeof length);
  reply->size = read_u32(&reader);
  if (reply->size < REPLY_HEADER || reply->size > FRAME_MAX) {
    (void)rpc_malformed();
    return IO_BROKEN;
  }
  reply->frame = malloc(reply->size);
  if (reply->frame == NULL) return IO_MEMORY;
  return socket_receive(fd, reply->frame, reply->size, limit);
}

static enum outcome exchange(int fd, const struct call *call, int64_t silence_ms, int64_t deadline,
                             struct reply *reply, CK_RV *code)
{
  uint32_t id = atomic_fetch_add(&next_id, 1) + 1;
  if (send_request(fd, id, call, deadline) != IO_OK) return BROKEN;
  for (;;) {
    reply_free(reply);
    enum io received = receive_frame(fd, reply, silence_ms, deadline);
    if (received != IO_OK) return received == IO_MEMORY ? WITHOUT_MEMORY : BROKEN;
    reply->body = reader_over(reply->frame, reply->size);
    uint32_t answered = read_u32(&reply->body);
    uint8_t kind = read_u8(&reply->body);
    *code = read_u32(&reply->body);
    if (answered != id || kind > KIND_RETRY) {
      (void)rpc_malformed();
      return BROKEN;
    }
    if (kind != KIND_WORKING) return kind == KIND_FINAL ? ANSWERED : ASKED_TO_RETRY;
    /* Signs of life that come faster than they are read would never meet a wait, and its deadline. */
    if (clock_now() >= deadline) return BROKEN;
  }
}

/* `error` is the reason why there is no connection; 0 when there is one and nothing came over it. */
static void note_outage(const struct call *call, int error)
{
  if (call->once || atomic_exchange(&outage, true)) return;
  unsigned seconds = call->timeout_ms / 1000;
  if (error == 0) log_line("the daemon or its cluster does not answer; calls wait up to %u s", seconds);
  else log_line("cannot connect to the daemon's socket: %s; calls wait up to %u s", strerror(error), seconds);
}

static void note_answer(const struct call *call, CK_RV code)
{
  /* A daemon asks for the login before it asks the cluster. */
  if (code != CKR_USER_NOT_LOGGED_IN) outage_over(call->op);
  if (atomic_load(&outage) && atomic_exchange(&outage, false)) log_line("the daemon answers again");
}

/* Whether it has been so for long enough not to wait for anything better. */
static bool stays_denied(enum acquired acquired, int64_t *since)
{
  if (acquired != ACQUIRE_DENIED) *since = 0;
  else if (*since == 0) *since = clock_now();
  return *since != 0 && clock_now() - *since >= DENIED_MS;
}

/* The first call that gives up says so, those that need not wait for it do not. */
static CK_RV denied(const struct call *call)
{
  if (!outage_is_known(call->op)) {
    log_line("this process may not connect to the daemon's socket: put its user into the socket's group, "
             "and see socketMode in pkcs11d.toml");
  }
  outage_given_up(call->op);
  return CKR_DEVICE_ERROR;
}

static CK_RV full(void)
{
  log_line("the daemon takes no more connections: see maxConnectionsPerApplication, maxConnectionsPerUser and "
           "maxConnections in pkcs11d.toml");
  return CKR_DEVICE_MEMORY;
}

static CK_RV give_up(const struct call *call)
{
  if (!outage_is_known(call->op)) {
    log_line("no answer within %u s: operation %d failed; others of its kind fail at once until there is one",
             call->timeout_ms / 1000, (int)call->op);
  }
  outage_given_up(call->op);
  return CKR_DEVICE_ERROR;
}

CK_RV rpc_call(uint64_t generation, struct call *call, struct reply *reply)
{
  int64_t deadline = clock_now() + call->timeout_ms;
  int64_t delay = DELAY_FIRST_MS;
  int64_t denied_since = 0;
  bool is_full = false;
  *reply = (struct reply){0};
  call->resent = false;

  for (;;) {
    struct connection connection;
    CK_RV code = CKR_DEVICE_ERROR;
    bool is_known = outage_is_known(call->op);
    int64_t silence_ms = is_known ? BRIEF_MS : SILENCE_MS;
    enum acquired acquired = pool_acquire(generation, silence_ms, deadline, &connection);
    if (acquired == ACQUIRE_CLOSED) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (acquired == ACQUIRE_INCOMPATIBLE) return CKR_DEVICE_ERROR;
    if (stays_denied(acquired, &denied_since)) return denied(call);
    if (acquired == ACQUIRED) {
      enum outcome outcome = exchange(connection.fd, call, silence_ms, deadline, reply, &code);
      if (outcome == BROKEN || outcome == WITHOUT_MEMORY) pool_discard(&connection);
      else pool_release(&connection);
      if (outcome == WITHOUT_MEMORY) return CKR_HOST_MEMORY;
      if (outcome == ANSWERED) {
        note_answer(call, code);
        return code;
      }
      call->resent = true;
      reply_free(reply);
      /* A pooled socket of a daemon that is gone says nothing about the new daemon. */
      if (outcome == BROKEN && connection.reused && !call->once && !is_known) continue;
    }
    int64_t left = deadline - clock_now();
    /* The last try has no time left for a hello: the one before knows why. */
    if (left > 0) is_full = acquired == ACQUIRE_BUSY;
    if (is_full && (left <= 0 || call->once)) return full();
    if (call->once) return CKR_DEVICE_ERROR;
    if (!is_full) note_outage(call, acquired == ACQUIRED ? 0 : connection.error);
    if (left <= 0 || (!is_full && outage_is_known(call->op))) return give_up(call);
    (void)poll(NULL, 0, (int)(delay < left ? delay : left));
    delay = delay * 2 < DELAY_MAX_MS ? delay * 2 : DELAY_MAX_MS;
  }
}
