/* PKCS#11 sessions: all their state is here, none in the daemon. Needs module_enter(). */
#ifndef THSM_SESSION_H
#define THSM_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "hash.h"
#include "mechanism.h"
#include "pkcs11.h"

enum { MODULUS_MAX = 512, EXPONENT_MAX = 8 };

/* TAKEN: a thread is working on the operation outside the lock. */
enum stage { STAGE_NONE, STAGE_READY, STAGE_UPDATED, STAGE_TAKEN };

/* A use of a key between Init and its end. */
struct operation {
  enum stage stage;
  struct mechanism mechanism;
  CK_OBJECT_HANDLE key;
  uint8_t modulus[MODULUS_MAX];
  size_t modulus_size;
  uint8_t exponent[EXPONENT_MAX];
  size_t exponent_size;
  struct hash hash;             /* when the mechanism hashes, else `data` */
  uint8_t data[MODULUS_MAX];
  size_t data_size;
};

struct digest {
  enum stage stage;
  struct hash hash;
};

struct find {
  bool active;
  CK_OBJECT_HANDLE *handles;
  size_t count;
  size_t next;
};

struct session {
  CK_SESSION_HANDLE handle;
  CK_SLOT_ID slot;
  bool writable;
  struct find find;
  struct operation sign;
  struct operation verify;
  struct operation encrypt;
  struct operation decrypt;
  struct digest digest;
};

/* A new session, or NULL with CKR_SESSION_COUNT or CKR_HOST_MEMORY in `result`. */
struct session *session_open(CK_SLOT_ID slot, bool writable, CK_RV *result);
/* NULL when the handle is of no open session. Handles are never used twice. */
struct session *session_find(CK_SESSION_HANDLE handle);
void session_close(struct session *session);
/* The first open session of a slot after `after` (NULL to begin); NULL at the end. */
struct session *session_next(CK_SLOT_ID slot, const struct session *after);
/* Open sessions of a slot, and how many of them are read-write. */
void session_count(CK_SLOT_ID slot, CK_ULONG *open, CK_ULONG *writable);
void session_close_all(void);
/* In a forked child: forgets the sessions without touching what another thread was changing. */
void session_abandon(void);

#endif
