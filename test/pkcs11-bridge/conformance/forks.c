/*
 * fork() at each state (v2.40 section 6.6.1): the child begins anew, the parent's operation goes on as if nothing had
 * been. Children end by SIGKILL when all is well: what they have inherited is given up, and no tool shall call it lost.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

enum { CHILD_SECONDS = 60 };

static CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};
static CK_BYTE data[32];

static void be_fresh_child(void)
{
  (void)alarm(CHILD_SECONDS);
  failures = 0;
  for (size_t i = 0; i < function_count; i++) EXPECT(functions[i].with_nulls(0), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(0);
  CK_SESSION_INFO info = {0};
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RO_PUBLIC_SESSION);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  if (failures == 0) (void)raise(SIGKILL);
  _exit(1);
}

void expect_fresh_child(int line)
{
  pid_t child = fork();
  if (child == 0) be_fresh_child();
  int status = 0;
  bool well = child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (well) return;
  fprintf(stderr, "a child forked on line %d ended with status 0x%x\n", line, (unsigned)status);
  failures++;
}

static void *sign_slowly(void *keys)
{
  CK_BYTE signature[MODULUS_SIZE];
  CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 20; i++) {
    CK_ULONG size = sizeof signature;
    EXPECT(p11->C_SignInit(session, &rsa, ((struct keys *)keys)->signer), CKR_OK);
    EXPECT(p11->C_Sign(session, data, sizeof data, signature, &size), CKR_OK);
  }
  return NULL;
}

void check_forks(void)
{
  struct keys keys;
  CK_BYTE out[MODULUS_SIZE];
  CK_ULONG size = sizeof out, count = 0;
  CK_OBJECT_HANDLE object;
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  EXPECT_FRESH_CHILD();
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_CloseSession(session), CKR_OK);
  session = open_for_user(&keys);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_FindObjects(session, &object, 1, &count), CKR_OK);
  HOLDS(count == 1);
  EXPECT(p11->C_FindObjectsFinal(session), CKR_OK);
  EXPECT(p11->C_SignInit(session, &rsa, keys.signer), CKR_OK);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_SignUpdate(session, data, sizeof data), CKR_OK);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_SignFinal(session, out, &size), CKR_OK);
  EXPECT(p11->C_DigestInit(session, &sha256), CKR_OK);
  EXPECT_FRESH_CHILD();
  EXPECT(p11->C_Digest(session, data, sizeof data, out, &size), CKR_OK);
  EXPECT(p11->C_DecryptInit(session, &rsa, keys.opener), CKR_OK);
  EXPECT_FRESH_CHILD();
  pthread_t thread;
  HOLDS(pthread_create(&thread, NULL, sign_slowly, &keys) == 0);
  for (int i = 0; i < 5; i++) EXPECT_FRESH_CHILD();
  HOLDS(pthread_join(thread, NULL) == 0);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  EXPECT_FRESH_CHILD();
}

static atomic_bool stop;

/* Holds the module's lock as often as it can, in every state of the library. */
static void *start_and_stop(void *unused)
{
  CK_INFO info;
  while (!atomic_load(&stop)) {
    (void)p11->C_Initialize(NULL);
    (void)p11->C_GetInfo(&info);
    (void)p11->C_Finalize(NULL);
    (void)p11->C_GetInfo(&info);
  }
  return unused;
}

void check_forks_under_load(int rounds)
{
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) HOLDS(pthread_create(&threads[i], NULL, start_and_stop, NULL) == 0);
  for (int i = 0; i < rounds && failures == 0; i++) EXPECT_FRESH_CHILD();
  atomic_store(&stop, true);
  for (int i = 0; i < 4; i++) HOLDS(pthread_join(threads[i], NULL) == 0);
}
