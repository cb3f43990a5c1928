/*
 * usage: no-memory. One life of an application, again and again: the first time the first allocation fails, then the
 * second, and so on; then with everything failing from that one on. Each call succeeds or says CKR_HOST_MEMORY, and
 * after it the module works.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "in-process.h"
#include "pkcs11.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static long allocations, failing;
static bool fails_on, armed;
static int refused, failures;

static bool fails(void)
{
  if (!armed) return false;
  allocations++;
  return allocations == failing || (fails_on && allocations > failing);
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *memory, size_t size) { return fails() ? NULL : __real_realloc(memory, size); }

static bool works(const char *call, CK_RV result)
{
  if (result == CKR_HOST_MEMORY && armed) refused++;
  else if (result != CKR_OK) {
    fprintf(stderr, "allocation %ld fails%s: %s: 0x%lx\n", failing, fails_on ? ", and all after it" : "", call, result);
    failures++;
  }
  return result == CKR_OK;
}
#define WORKS(call) works(#call, call)

static void sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
  CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0};
  CK_BYTE in[32] = {0}, out[MODULUS_SIZE];
  CK_ULONG size = sizeof out;
  if (WORKS(C_SignInit(session, &rsa, key))) (void)WORKS(C_Sign(session, in, sizeof in, out, &size));
}

static void change_objects(CK_SESSION_HANDLE session)
{
  CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
  CK_KEY_TYPE rsa = CKK_RSA;
  CK_BYTE modulus[128] = {0x80}, exponent[] = {1, 0, 1};
  CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &rsa, sizeof rsa},
                             {CKA_MODULUS, modulus, sizeof modulus}, {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
  CK_ATTRIBUTE label = {CKA_LABEL, "another", 7};
  CK_OBJECT_HANDLE made, copy;
  CK_ULONG size;
  if (!WORKS(C_CreateObject(session, template, 4, &made))) return;
  (void)WORKS(C_SetAttributeValue(session, made, &label, 1));
  /* Whether that had memory or not, the object is there. */
  (void)WORKS(C_GetObjectSize(session, made, &size));
  if (WORKS(C_CopyObject(session, made, &label, 1, &copy))) (void)WORKS(C_DestroyObject(session, copy));
  (void)WORKS(C_DestroyObject(session, made));
}

static void live(void)
{
  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE found;
  CK_ULONG count = 0;
  if (!WORKS(C_Initialize(NULL))) return;
  if (WORKS(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session))) {
    if (WORKS(C_FindObjectsInit(session, NULL, 0))) {
      (void)WORKS(C_FindObjects(session, &found, 1, &count));
      (void)WORKS(C_FindObjectsFinal(session));
    }
    if (WORKS(C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4))) {
      sign(session, PRIVATE_HANDLE);
      (void)WORKS(C_Logout(session));
    }
    change_objects(session);
    (void)WORKS(C_CloseSession(session));
  }
  (void)WORKS(C_Finalize(NULL));
}

int main(void)
{
  live();
  for (int mode = 0; mode < 2; mode++) {
    fails_on = mode == 1;
    failing = 0;
    do {
      failing++;
      allocations = 0;
      armed = true;
      live();
      armed = false;
      live();
    } while (allocations >= failing);
    printf("%ld allocations, each failing%s\n", failing - 1, fails_on ? " with all after it" : "");
  }
  printf("%d calls refused for want of memory\n", refused);
  return failures == 0 && refused > 100 ? 0 : 1;
}
