/*
 * An application that signs for a while and does not know of any outage.
 * usage: sign-loop MODULE PIN SIGNATURES FILE [logout]; environment: THSM_PKCS11_CONF
 * Signs the SHA-256 digests 00…00, 00…01, … with the first private key, and appends the signatures to
 * FILE. Exits 0 when every call succeeded. With "logout" it says "ready" after the last signature,
 * waits for a line on stdin, and logs out.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

static void require(CK_RV got, const char *what)
{
  if (got == CKR_OK) return;
  fprintf(stderr, "%s: 0x%lx\n", what, got);
  exit(1);
}

int main(int count, char **arguments)
{
  if (count < 5) return 2;
  void *module = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get_list = module == NULL ? NULL : (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  FILE *out = fopen(arguments[4], "wb");
  if (get_list == NULL || out == NULL) return 2;
  CK_FUNCTION_LIST *p11;
  require(get_list(&p11), "C_GetFunctionList");
  require(p11->C_Initialize(NULL), "C_Initialize");

  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG found = 0, signatures = strtoul(arguments[3], NULL, 10);
  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE wanted = {CKA_CLASS, &private_key, sizeof private_key};
  require(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
  require(p11->C_Login(session, CKU_USER, (CK_BYTE *)arguments[2], strlen(arguments[2])), "C_Login");
  require(p11->C_FindObjectsInit(session, &wanted, 1), "C_FindObjectsInit");
  require(p11->C_FindObjects(session, &key, 1, &found), "C_FindObjects");
  require(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  if (found != 1) return 3;

  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  CK_BYTE info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                      0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
  for (CK_ULONG i = 0; i < signatures; i++) {
    CK_BYTE signature[512];
    CK_ULONG size = sizeof signature;
    info[49] = (CK_BYTE)(i >> 8);
    info[50] = (CK_BYTE)i;
    require(p11->C_SignInit(session, &mechanism, key), "C_SignInit");
    require(p11->C_Sign(session, info, sizeof info, signature, &size), "C_Sign");
    if (fwrite(signature, 1, size, out) != size || fflush(out) != 0) return 4;
  }
  if (count > 5) {
    puts("ready");
    fflush(stdout);
    (void)getchar();
    require(p11->C_Logout(session), "C_Logout");
    CK_RV refused = p11->C_SignInit(session, &mechanism, key);
    CK_BYTE signature[512];
    CK_ULONG size = sizeof signature;
    if (refused == CKR_OK) refused = p11->C_Sign(session, info, sizeof info, signature, &size);
    if (refused == CKR_OK) return 5;
    puts("out");
    fflush(stdout);
    (void)getchar();
  }
  require(p11->C_Finalize(NULL), "C_Finalize");
  return 0;
}
