/*
 * Every function of PKCS#11 v2.40 against what the standard says of it. The scenarios are in files by topic; all of
 * them know the functions from one table (functions.c).
 */
#ifndef THSM_CONFORMANCE_SUITE_H
#define THSM_CONFORMANCE_SUITE_H

#include <stdbool.h>
#include <stddef.h>

#include "../expect.h"

/* What a function's first argument is. */
enum scope { LIBRARY, SLOT, SESSION };

struct function {
  const char *name;
  enum scope scope;
  /* The function for a slot or session: with NULL for every pointer, and with room for everything. */
  CK_RV (*with_nulls)(CK_ULONG handle);
  CK_RV (*with_room)(CK_ULONG handle);
  /* Their results in a new read-write session without a login. */
  CK_RV nulls;
  CK_RV room;
};

extern const struct function functions[];
extern const size_t function_count;

/* Keys that the test put on the token: one that signs, one that decrypts. */
struct keys {
  CK_OBJECT_HANDLE signer, verifier, opener, recipient;
};

enum { MODULUS_SIZE = 256 };

CK_SESSION_HANDLE open_session(CK_FLAGS more);
/* A logged-in session and the token's keys. */
CK_SESSION_HANDLE open_for_user(struct keys *keys);

/* Runs every function in a child that was forked now: not one may see the parent's state, all must return. */
void expect_fresh_child(int line);
#define EXPECT_FRESH_CHILD() expect_fresh_child(__LINE__)

void check_null_and_handles(void);
void check_states(void);
void check_buffers(void);
void check_forks(void);
/* `rounds` of each of 64 threads. */
void check_threads(int rounds);
void check_forks_under_load(int rounds);
void check_reconnects(int rounds);

#endif
