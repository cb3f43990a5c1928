/* One call to the daemon, over any number of connections, until an answer or the deadline. */
#ifndef THSM_RPC_H
#define THSM_RPC_H

#include "pkcs11.h"
#include "wire.h"

enum op {
  OP_LOGIN = 1,
  OP_RESUME = 2,
  OP_LOGOUT = 3,
  OP_KEYS = 4,
  OP_SIGN = 5,
  OP_VERIFY = 6,
  OP_GENERATE = 7,
  OP_DESTROY = 8,
  OP_DECRYPT = 9,
  OP_ENCRYPT = 10,
  OP_RELABEL = 11,
  OP_STORE = 12,
  OP_SET_PIN = 13,
  OP_NOTE = 14,
  OP_PIN_STATE = 15,
  OP_CHECK_CODE = 16,
  OP_RESET_PIN = 17,
  OP_COUNT
};

struct call {
  enum op op;
  const struct writer *body;
  unsigned timeout_ms;
  bool once;    /* a broken or missing connection ends the call: no redial */
  bool resent;  /* out: an earlier copy of the request may have been executed */
};

struct reply {
  uint8_t *frame;
  size_t size;
  struct reader body;
};

/*
 * The daemon's code for the call, with the reply's body; reply_free() follows in every case.
 * An outage is waited out once: after a call that had no answer in its time, others of its kind try once and fail.
 * Without an answer: CKR_DEVICE_ERROR, CKR_HOST_MEMORY, or CKR_CRYPTOKI_NOT_INITIALIZED after a C_Finalize.
 */
CK_RV rpc_call(uint64_t generation, struct call *call, struct reply *reply);
/* Wipes and frees: a reply may hold a ticket. */
void reply_free(struct reply *reply);
/* For replies that do not parse: says so, and returns CKR_DEVICE_ERROR. */
CK_RV rpc_malformed(void);

#endif
