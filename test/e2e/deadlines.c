/*
 * Every call that may need the daemon or the cluster, once, while one of them is away.
 * usage: deadlines MODULE PIN; environment: THSM_PKCS11_CONF
 * Says "ready" when it has logged in, found a key pair and begun what can only be begun with them; waits for a
 * line on stdin; then prints for each call its name, what it returned and after how many milliseconds.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST *p11;
static CK_BBOOL yes = CK_TRUE;

static void require(CK_RV got, const char *what)
{
  if (got == CKR_OK) return;
  fprintf(stderr, "%s: 0x%lx\n", what, got);
  exit(1);
}

static long now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define TIMED(function, ...)                                                    \
  do {                                                                          \
    long began = now_ms();                                                      \
    CK_RV got = p11->function(__VA_ARGS__);                                     \
    printf("%s 0x%lx %ld\n", #function, got, now_ms() - began);                 \
    fflush(stdout);                                                             \
  } while (0)

static CK_SESSION_HANDLE open_session(void)
{
  CK_SESSION_HANDLE session;
  require(p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
  return session;
}

static CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session, CK_ATTRIBUTE_TYPE usage)
{
  CK_OBJECT_HANDLE found = 0;
  CK_ULONG count = 0;
  CK_ATTRIBUTE wanted = {usage, &yes, sizeof yes};
  require(p11->C_FindObjectsInit(session, &wanted, 1), "C_FindObjectsInit");
  require(p11->C_FindObjects(session, &found, 1, &count), "C_FindObjects");
  require(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  if (count != 1) exit(3);
  return found;
}

static void sign_and_verify(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
  CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
  CK_BYTE bytes[512] = "data", more[512];
  CK_ULONG size = sizeof more;
  TIMED(C_SignInit, session, &mechanism, private_key);
  TIMED(C_Sign, session, bytes, 4, more, &size);
  require(p11->C_SignInit(session, &mechanism, private_key), "C_SignInit");
  TIMED(C_SignUpdate, session, bytes, 4);
  size = sizeof more;
  TIMED(C_SignFinal, session, more, &size);
  TIMED(C_VerifyInit, session, &mechanism, public_key);
  TIMED(C_Verify, session, bytes, 4, more, 128);
  require(p11->C_VerifyInit(session, &mechanism, public_key), "C_VerifyInit");
  TIMED(C_VerifyUpdate, session, bytes, 4);
  TIMED(C_VerifyFinal, session, more, 128);
}

static void encrypt_and_decrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE private_key)
{
  CK_MECHANISM plain = {CKM_RSA_PKCS, NULL, 0};
  CK_BYTE bytes[128] = {0, 2}, more[512];
  CK_ULONG size = sizeof more;
  TIMED(C_EncryptInit, session, &plain, public_key);
  TIMED(C_Encrypt, session, bytes, 4, more, &size);
  size = sizeof more;
  TIMED(C_DecryptInit, session, &plain, private_key);
  TIMED(C_Decrypt, session, bytes, sizeof bytes, more, &size);
}

static void change(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE *pin)
{
  CK_MECHANISM generation = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
  CK_ULONG bits = 1024;
  CK_OBJECT_HANDLE made, other;
  CK_OBJECT_CLASS data = CKO_DATA, private_class = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE public_template[] = {{CKA_MODULUS_BITS, &bits, sizeof bits}};
  CK_ATTRIBUTE private_template[] = {{CKA_TOKEN, &yes, 1}, {CKA_SIGN, &yes, 1}};
  CK_ATTRIBUTE object[] = {{CKA_CLASS, &data, sizeof data}, {CKA_TOKEN, &yes, 1}, {CKA_VALUE, "value", 5}};
  CK_ATTRIBUTE import[] = {{CKA_CLASS, &private_class, sizeof private_class}, {CKA_TOKEN, &yes, 1}};
  CK_ATTRIBUTE name = {CKA_LABEL, "another", 7}, label = {CKA_LABEL, NULL, 0};
  CK_ULONG size;
  TIMED(C_GenerateKeyPair, session, &generation, public_template, 1, private_template, 2, &made, &other);
  TIMED(C_CreateObject, session, object, 3, &made);
  TIMED(C_CreateObject, session, import, 2, &made);
  TIMED(C_SetAttributeValue, session, key, &name, 1);
  TIMED(C_GetAttributeValue, session, key, &label, 1);
  TIMED(C_GetObjectSize, session, key, &size);
  TIMED(C_CopyObject, session, key, NULL, 0, &made);
  TIMED(C_DestroyObject, session, key);
  TIMED(C_SetPIN, session, pin, strlen((char *)pin), pin, strlen((char *)pin));
}

/* An application that has seen no object yet has no old list to go by. */
static void search(CK_SESSION_HANDLE session)
{
  CK_OBJECT_HANDLE found;
  CK_ULONG count;
  TIMED(C_FindObjectsInit, session, NULL, 0);
  if (p11->C_FindObjects(session, &found, 1, &count) == CKR_OK) p11->C_FindObjectsFinal(session);
}

static void local(void)
{
  CK_ULONG count = 0;
  CK_SLOT_INFO slot;
  CK_TOKEN_INFO token;
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session;
  CK_MECHANISM_INFO mechanism;
  CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
  CK_BYTE random[16], digest[32];
  CK_ULONG size = sizeof digest;
  TIMED(C_GetSlotList, CK_TRUE, NULL, &count);
  TIMED(C_GetSlotInfo, 0, &slot);
  TIMED(C_GetTokenInfo, 0, &token);
  TIMED(C_GetMechanismList, 0, NULL, &count);
  TIMED(C_GetMechanismInfo, 0, CKM_RSA_PKCS, &mechanism);
  TIMED(C_OpenSession, 0, CKF_SERIAL_SESSION, NULL, NULL, &session);
  TIMED(C_GetSessionInfo, session, &info);
  TIMED(C_DigestInit, session, &sha256);
  TIMED(C_Digest, session, random, 4, digest, &size);
  TIMED(C_GenerateRandom, session, random, sizeof random);
  TIMED(C_CloseSession, session);
}

int main(int count, char **arguments)
{
  if (count != 3) return 2;
  void *module = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get_list = module == NULL ? NULL : (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  if (get_list == NULL) return 2;
  CK_BYTE *pin = (CK_BYTE *)arguments[2];
  require(get_list(&p11), "C_GetFunctionList");
  require(p11->C_Initialize(NULL), "C_Initialize");
  CK_SESSION_HANDLE session = open_session();
  /* A busy machine may take longer for a PIN than this test lets a call wait. */
  CK_RV logged_in = CKR_DEVICE_ERROR;
  for (int i = 0; i < 20 && logged_in == CKR_DEVICE_ERROR; i++) {
    logged_in = p11->C_Login(session, CKU_USER, pin, strlen(arguments[2]));
  }
  require(logged_in, "C_Login");
  CK_OBJECT_HANDLE signer = find(session, CKA_SIGN), verifier = find(session, CKA_VERIFY);
  CK_OBJECT_HANDLE opener = find(session, CKA_DECRYPT), sealer = find(session, CKA_ENCRYPT);
  puts("ready");
  fflush(stdout);
  (void)getchar();

  local();
  search(session);
  sign_and_verify(session, signer, verifier);
  encrypt_and_decrypt(session, sealer, opener);
  change(session, signer, pin);
  TIMED(C_Logout, session);
  TIMED(C_Login, session, CKU_USER, pin, strlen(arguments[2]));
  TIMED(C_CloseAllSessions, 0);
  TIMED(C_Finalize, NULL);
  TIMED(C_Initialize, NULL);
  session = open_session();
  printf("first ");
  search(session);
  TIMED(C_Finalize, NULL);
  return 0;
}
