/* 64 threads on one pool of sessions, each with every kind of call, while others use the same session. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

enum { THREADS = 64, SESSIONS = 16 };

static struct keys keys;
static CK_SESSION_HANDLE pool[SESSIONS];
static int rounds_each;
static CK_BYTE data[32], reference[MODULUS_SIZE];
static CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};

/* What a call may say when another thread had begun or ended something on the same session. */
static void expect_in_turn(const char *what, CK_RV got)
{
  if (got == CKR_OK || got == CKR_OPERATION_ACTIVE || got == CKR_OPERATION_NOT_INITIALIZED) return;
  fprintf(stderr, "%s among threads: 0x%lx\n", what, got);
  failures++;
}

static void sign_shared(CK_SESSION_HANDLE session)
{
  CK_BYTE signature[MODULUS_SIZE];
  CK_ULONG size = sizeof signature;
  expect_in_turn("C_SignInit", p11->C_SignInit(session, &rsa, keys.signer));
  CK_RV result = p11->C_Sign(session, data, sizeof data, signature, &size);
  expect_in_turn("C_Sign", result);
  if (result == CKR_OK) HOLDS(size == MODULUS_SIZE && memcmp(signature, reference, size) == 0);
}

static void digest_shared(CK_SESSION_HANDLE session)
{
  CK_BYTE digest[32];
  CK_ULONG size = sizeof digest;
  expect_in_turn("C_DigestInit", p11->C_DigestInit(session, &sha256));
  expect_in_turn("C_DigestUpdate", p11->C_DigestUpdate(session, data, sizeof data));
  expect_in_turn("C_DigestFinal", p11->C_DigestFinal(session, digest, &size));
}

static void search_shared(CK_SESSION_HANDLE session)
{
  CK_OBJECT_HANDLE found[8];
  CK_ULONG count;
  expect_in_turn("C_FindObjectsInit", p11->C_FindObjectsInit(session, NULL, 0));
  expect_in_turn("C_FindObjects", p11->C_FindObjects(session, found, 8, &count));
  expect_in_turn("C_FindObjectsFinal", p11->C_FindObjectsFinal(session));
}

/* What is one's own must work whatever the others do. */
static void sign_alone(void)
{
  CK_BYTE signature[MODULUS_SIZE];
  CK_ULONG size = sizeof signature;
  CK_SESSION_HANDLE session = open_session(0);
  EXPECT(p11->C_SignInit(session, &rsa, keys.signer), CKR_OK);
  EXPECT(p11->C_Sign(session, data, sizeof data, signature, &size), CKR_OK);
  HOLDS(memcmp(signature, reference, sizeof reference) == 0);
  EXPECT(p11->C_CloseSession(session), CKR_OK);
}

static void *work(void *seed)
{
  unsigned state = (unsigned)(size_t)seed;
  for (int i = 0; i < rounds_each; i++) {
    CK_SESSION_HANDLE session = pool[(unsigned)rand_r(&state) % SESSIONS];
    switch (rand_r(&state) % 4) {
    case 0: sign_shared(session); break;
    case 1: digest_shared(session); break;
    case 2: search_shared(session); break;
    default: sign_alone();
    }
  }
  return NULL;
}

void check_threads(int rounds)
{
  pthread_t threads[THREADS];
  CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS};
  CK_ULONG size = sizeof reference;
  rounds_each = rounds;
  EXPECT(p11->C_Initialize(&arguments), CKR_OK);
  CK_SESSION_HANDLE session = open_for_user(&keys);
  EXPECT(p11->C_SignInit(session, &rsa, keys.signer), CKR_OK);
  EXPECT(p11->C_Sign(session, data, sizeof data, reference, &size), CKR_OK);
  for (int i = 0; i < SESSIONS; i++) pool[i] = open_session(0);
  for (size_t i = 0; i < THREADS; i++) HOLDS(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
  for (size_t i = 0; i < THREADS; i++) HOLDS(pthread_join(threads[i], NULL) == 0);
  CK_TOKEN_INFO info;
  EXPECT(p11->C_GetTokenInfo(0, &info), CKR_OK);
  HOLDS(info.ulSessionCount == SESSIONS + 1);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}
