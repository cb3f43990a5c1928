/*
 * Drives libthsm-pkcs11.so the way applications do, and the way they should not.
 * usage: module-test MODULE SCENARIO [ARGUMENT…]; exits 0 when every expectation held.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

CK_FUNCTION_LIST *p11;
atomic_int failures;

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS private_class = CKO_PRIVATE_KEY, public_class = CKO_PUBLIC_KEY;
static CK_KEY_TYPE rsa = CKK_RSA;

static CK_SESSION_HANDLE open_session(CK_FLAGS more)
{
  CK_SESSION_HANDLE session = 0;
  EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION | more, NULL, NULL, &session), CKR_OK);
  return session;
}

static CK_RV login(CK_SESSION_HANDLE session) { return p11->C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4); }

static CK_ULONG find(CK_SESSION_HANDLE session, CK_OBJECT_CLASS *class, CK_OBJECT_HANDLE *found)
{
  CK_ATTRIBUTE wanted = {CKA_CLASS, class, sizeof *class};
  CK_ULONG count = 0;
  CK_OBJECT_HANDLE handles[100] = {0};
  EXPECT(p11->C_FindObjectsInit(session, &wanted, 1), CKR_OK);
  EXPECT(p11->C_FindObjects(session, handles, 100, &count), CKR_OK);
  EXPECT(p11->C_FindObjectsFinal(session), CKR_OK);
  if (found != NULL) *found = handles[0];
  return count;
}

/* Knot DNS 3.2's own templates, through GnuTLS 3.7. */
static CK_RV generate(CK_SESSION_HANDLE session, CK_ULONG bits, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
  static CK_BYTE id[20] = "twenty bytes of name", exponent[3] = {1, 0, 1};
  CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
  CK_ATTRIBUTE public_template[] = {{CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &no, 1}, {CKA_ID, id, sizeof id},
                                    {CKA_ENCRYPT, &yes, 1}, {CKA_VERIFY, &yes, 1},
                                    {CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_PUBLIC_EXPONENT, exponent, 3}};
  CK_ATTRIBUTE private_template[] = {{CKA_ID, id, sizeof id}, {CKA_DECRYPT, &yes, 1}, {CKA_SIGN, &yes, 1},
                                     {CKA_PRIVATE, &yes, 1}, {CKA_TOKEN, &yes, 1}, {CKA_SENSITIVE, &yes, 1}};
  return p11->C_GenerateKeyPair(session, &mechanism, public_template, 7, private_template, 6, public_key, private_key);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE *signature, CK_ULONG *size)
{
  CK_BYTE info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                      0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20, 1, 2, 3};
  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  CK_RV result = p11->C_SignInit(session, &mechanism, key);
  return result == CKR_OK ? p11->C_Sign(session, info, sizeof info, signature, size) : result;
}

/* Section 5.4: what C_Initialize takes, and the state before and after it. */
static void test_initialize(void)
{
  CK_INFO info;
  CK_ULONG count;
  CK_SESSION_HANDLE session;
  EXPECT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_GetSlotList(CK_TRUE, NULL, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_Encrypt(0, NULL, 0, NULL, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);

  static const CK_FLAGS flags[] = {0, 1, 2, 3};
  for (int i = 0; i < 4; i++) {
    CK_C_INITIALIZE_ARGS arguments = {.flags = flags[i]};
    EXPECT(p11->C_Initialize(&arguments), CKR_OK);
    EXPECT(p11->C_Initialize(&arguments), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    EXPECT(p11->C_Finalize(&arguments), CKR_ARGUMENTS_BAD);
    EXPECT(p11->C_Finalize(NULL), CKR_OK);
  }
  int dummy;
  CK_C_INITIALIZE_ARGS reserved = {.pReserved = &dummy};
  EXPECT(p11->C_Initialize(&reserved), CKR_ARGUMENTS_BAD);
  CK_C_INITIALIZE_ARGS partial = {.LockMutex = (CK_LOCKMUTEX)(void *)&dummy, .flags = CKF_OS_LOCKING_OK};
  EXPECT(p11->C_Initialize(&partial), CKR_ARGUMENTS_BAD);
  CK_C_INITIALIZE_ARGS own = {(CK_CREATEMUTEX)(void *)&dummy, (CK_DESTROYMUTEX)(void *)&dummy,
                              (CK_LOCKMUTEX)(void *)&dummy, (CK_UNLOCKMUTEX)(void *)&dummy, 0, NULL};
  EXPECT(p11->C_Initialize(&own), CKR_CANT_LOCK);
  own.flags = CKF_OS_LOCKING_OK;
  EXPECT(p11->C_Initialize(&own), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  EXPECT(p11->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetInfo(&info), CKR_OK);
  HOLDS(info.cryptokiVersion.major == 2 && info.cryptokiVersion.minor == 40);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* Slots, tokens, sessions, and pointers that are NULL. Needs no daemon. */
static void test_local(void)
{
  CK_SLOT_ID slots[8] = {0};
  CK_ULONG count = 1;
  CK_SLOT_INFO slot;
  CK_TOKEN_INFO token;
  CK_MECHANISM_INFO mechanism_info;
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session, other;
  CK_BYTE buffer[64];
  CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  EXPECT(p11->C_GetSlotList(CK_TRUE, NULL, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_BUFFER_TOO_SMALL);
  HOLDS(count == 2);
  EXPECT(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
  EXPECT(p11->C_GetSlotInfo(0, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetSlotInfo(2, &slot), CKR_SLOT_ID_INVALID);
  EXPECT(p11->C_GetSlotInfo(CK_UNAVAILABLE_INFORMATION, &slot), CKR_SLOT_ID_INVALID);
  EXPECT(p11->C_GetTokenInfo(0, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetTokenInfo(0, &token), CKR_OK);
  HOLDS(memcmp(token.label, "dns                             ", 32) == 0);
  HOLDS((token.flags & CKF_TOKEN_INITIALIZED) != 0 && (token.flags & CKF_LOGIN_REQUIRED) != 0);
  EXPECT(p11->C_GetMechanismList(0, NULL, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetMechanismInfo(0, CKM_AES_CBC, &mechanism_info), CKR_MECHANISM_INVALID);
  EXPECT(p11->C_GetMechanismInfo(0, CKM_RSA_PKCS_PSS, &mechanism_info), CKR_OK);
  EXPECT(p11->C_OpenSession(0, 0, NULL, NULL, &session), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
  EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_OpenSession(9, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_SLOT_ID_INVALID);

  session = open_session(0);
  EXPECT(p11->C_GetSessionInfo(session, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RO_PUBLIC_SESSION);
  other = open_session(CKF_RW_SESSION);
  EXPECT(p11->C_CloseSession(session), CKR_OK);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
  session = open_session(0);
  HOLDS(session != other);
  EXPECT(p11->C_CloseAllSessions(0), CKR_OK);
  EXPECT(p11->C_CloseSession(other), CKR_SESSION_HANDLE_INVALID);
  session = open_session(CKF_RW_SESSION);

  EXPECT(p11->C_Login(session, 3, (CK_BYTE *)"1", 1), CKR_USER_TYPE_INVALID);
  EXPECT(p11->C_Login(session, CKU_SO, buffer, 65), CKR_PIN_LEN_RANGE);
  EXPECT(p11->C_Login(session, CKU_CONTEXT_SPECIFIC, (CK_BYTE *)"1", 1), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_Login(session, CKU_USER, NULL, 4), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_Login(session, CKU_USER, buffer, 256), CKR_PIN_LEN_RANGE);
  EXPECT(p11->C_Logout(session), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_GenerateRandom(session, NULL, 5), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GenerateRandom(session, buffer, sizeof buffer), CKR_OK);
  EXPECT(p11->C_SeedRandom(session, buffer, 1), CKR_RANDOM_SEED_NOT_SUPPORTED);
  EXPECT(p11->C_GetFunctionStatus(session), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT(p11->C_CancelFunction(session), CKR_FUNCTION_NOT_PARALLEL);
  EXPECT(p11->C_EncryptInit(session, NULL, 0), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_DecryptInit(session, NULL, 0), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_Encrypt(session, buffer, 1, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_Decrypt(session, buffer, 1, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_DecryptUpdate(session, buffer, 1, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slots[0], NULL), CKR_NO_EVENT);
  EXPECT(p11->C_WaitForSlotEvent(0, NULL, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_InitToken(0, buffer, 4, buffer), CKR_SESSION_EXISTS);
  EXPECT(p11->C_InitToken(1, buffer, 4, buffer), CKR_TOKEN_WRITE_PROTECTED);
  EXPECT(p11->C_InitToken(1, buffer, 4, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_InitPIN(session, buffer, 4), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_DeriveKey(session, &mechanism, 1, NULL, 0, NULL), CKR_MECHANISM_INVALID);
  EXPECT(p11->C_UnwrapKey(session, &mechanism, 1, buffer, 1, NULL, 0, NULL), CKR_MECHANISM_INVALID);
  EXPECT(p11->C_WrapKey(session, &mechanism, 1, 1, buffer, &count), CKR_KEY_HANDLE_INVALID);
  EXPECT(p11->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_FindObjects(session, NULL, 1, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_FindObjectsFinal(session), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_SignInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_Sign(session, buffer, 1, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_SignUpdate(session, buffer, 1), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_SignFinal(session, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_VerifyInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_Verify(session, buffer, 1, buffer, 1), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_GenerateKeyPair(session, NULL, NULL, 0, NULL, 0, NULL, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_CreateObject(session, NULL, 0, NULL), CKR_ARGUMENTS_BAD);

  EXPECT(p11->C_DigestInit(session, NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_DigestInit(session, &mechanism), CKR_OK);
  EXPECT(p11->C_DigestInit(session, &mechanism), CKR_OPERATION_ACTIVE);
  EXPECT(p11->C_Digest(session, NULL, 0, NULL, &count), CKR_OK);
  HOLDS(count == 32);
  count = 31;
  EXPECT(p11->C_Digest(session, NULL, 0, buffer, &count), CKR_BUFFER_TOO_SMALL);
  HOLDS(count == 32);
  EXPECT(p11->C_Digest(session, NULL, 0, buffer, &count), CKR_OK);
  HOLDS(buffer[0] == 0xe3 && buffer[31] == 0x55);
  EXPECT(p11->C_Digest(session, NULL, 0, buffer, &count), CKR_OPERATION_NOT_INITIALIZED);
  mechanism.mechanism = CKM_RSA_PKCS;
  EXPECT(p11->C_DigestInit(session, &mechanism), CKR_MECHANISM_INVALID);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

static void check_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
  CK_BYTE modulus[512], small[1];
  CK_ULONG bits = 0;
  CK_ATTRIBUTE mixed[] = {{CKA_MODULUS, modulus, sizeof modulus}, {CKA_PRIVATE_EXPONENT, modulus, sizeof modulus},
                          {CKA_SIGN, small, 1}, {CKA_VENDOR_DEFINED, NULL, 0}};
  CK_RV result = p11->C_GetAttributeValue(session, private_key, mixed, 4);
  HOLDS(result == CKR_ATTRIBUTE_SENSITIVE || result == CKR_ATTRIBUTE_TYPE_INVALID);
  HOLDS(mixed[0].ulValueLen == 128 && mixed[1].ulValueLen == CK_UNAVAILABLE_INFORMATION);
  HOLDS(mixed[2].ulValueLen == 1 && small[0] == CK_TRUE && mixed[3].ulValueLen == CK_UNAVAILABLE_INFORMATION);
  CK_ATTRIBUTE short_buffer = {CKA_MODULUS, small, 1};
  EXPECT(p11->C_GetAttributeValue(session, private_key, &short_buffer, 1), CKR_BUFFER_TOO_SMALL);
  CK_ATTRIBUTE length = {CKA_MODULUS, NULL, 0};
  EXPECT(p11->C_GetAttributeValue(session, public_key, &length, 1), CKR_OK);
  HOLDS(length.ulValueLen == 128);
  CK_ATTRIBUTE modulus_bits = {CKA_MODULUS_BITS, &bits, sizeof bits};
  EXPECT(p11->C_GetAttributeValue(session, public_key, &modulus_bits, 1), CKR_OK);
  HOLDS(bits == 1024);
  static const CK_ATTRIBUTE_TYPE all[] = {
    CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE, CKA_LABEL, CKA_ID, CKA_KEY_TYPE,
    CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE, CKA_DERIVE, CKA_LOCAL, CKA_KEY_GEN_MECHANISM, CKA_ALLOWED_MECHANISMS,
    CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_EXTRACTABLE, CKA_NEVER_EXTRACTABLE, CKA_DECRYPT, CKA_SIGN,
    CKA_SIGN_RECOVER, CKA_UNWRAP, CKA_WRAP_WITH_TRUSTED, CKA_ALWAYS_AUTHENTICATE, CKA_MODULUS, CKA_PUBLIC_EXPONENT};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    CK_ATTRIBUTE one = {all[i], NULL, 0};
    EXPECT(p11->C_GetAttributeValue(session, private_key, &one, 1), CKR_OK);
  }
  CK_ULONG size;
  EXPECT(p11->C_GetObjectSize(session, private_key, &size), CKR_OK);
  CK_BYTE name[8] = {0};
  CK_ATTRIBUTE names[] = {{CKA_LABEL, "new", 3}, {CKA_ID, "\1\2", 2}}, read_label = {CKA_LABEL, name, sizeof name};
  CK_ATTRIBUTE sensitive = {CKA_SENSITIVE, &no, 1};
  EXPECT(p11->C_SetAttributeValue(session, private_key, names, 2), CKR_OK);
  EXPECT(p11->C_GetAttributeValue(session, public_key, &read_label, 1), CKR_OK);
  HOLDS(read_label.ulValueLen == 3 && memcmp(name, "new", 3) == 0);
  EXPECT(p11->C_SetAttributeValue(session, private_key, &sensitive, 1), CKR_ATTRIBUTE_READ_ONLY);
  CK_ATTRIBUTE imported[] = {{CKA_CLASS, &private_class, sizeof private_class}, {CKA_KEY_TYPE, &rsa, sizeof rsa}};
  EXPECT(p11->C_CreateObject(session, imported, 2, &private_key), CKR_ATTRIBUTE_VALUE_INVALID);
}

static void check_signing(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
  CK_BYTE signature[128], again[128], text[] = "text";
  CK_ULONG size = 0;
  CK_MECHANISM sha256 = {CKM_SHA256_RSA_PKCS, NULL, 0}, plain = {CKM_RSA_PKCS, NULL, 0};
  CK_RSA_PKCS_PSS_PARAMS parameters = {CKM_SHA256, CKG_MGF1_SHA1, 32};
  CK_MECHANISM pss = {CKM_RSA_PKCS_PSS, &parameters, sizeof parameters};
  EXPECT(p11->C_SignInit(session, &sha256, public_key), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_SignInit(session, &sha256, 4711), CKR_KEY_HANDLE_INVALID);
  EXPECT(p11->C_SignInit(session, &pss, private_key), CKR_MECHANISM_PARAM_INVALID);
  parameters = (CK_RSA_PKCS_PSS_PARAMS){CKM_SHA256, CKG_MGF1_SHA256, 65};
  EXPECT(p11->C_SignInit(session, &pss, private_key), CKR_MECHANISM_PARAM_INVALID);
  EXPECT(p11->C_SignInit(session, &sha256, private_key), CKR_OK);
  EXPECT(p11->C_SignInit(session, &sha256, private_key), CKR_OPERATION_ACTIVE);
  EXPECT(p11->C_Sign(session, text, 4, NULL, &size), CKR_OK);
  HOLDS(size == 128);
  size = 127;
  EXPECT(p11->C_Sign(session, text, 4, signature, &size), CKR_BUFFER_TOO_SMALL);
  HOLDS(size == 128);
  EXPECT(p11->C_Sign(session, text, 4, signature, &size), CKR_OK);
  EXPECT(p11->C_Sign(session, text, 4, signature, &size), CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(p11->C_SignInit(session, &sha256, private_key), CKR_OK);
  EXPECT(p11->C_SignUpdate(session, text, 1), CKR_OK);
  EXPECT(p11->C_Sign(session, text, 4, again, &size), CKR_OPERATION_ACTIVE);
  EXPECT(p11->C_SignUpdate(session, text + 1, 3), CKR_OK);
  EXPECT(p11->C_SignFinal(session, again, &size), CKR_OK);
  HOLDS(memcmp(signature, again, 128) == 0);
  EXPECT(p11->C_SignInit(session, &plain, private_key), CKR_OK);
  EXPECT(p11->C_Sign(session, signature, 118, again, &size), CKR_DATA_LEN_RANGE);
  EXPECT(p11->C_SignInit(session, &plain, private_key), CKR_OK);
  EXPECT(p11->C_Sign(session, NULL, 4, again, &size), CKR_ARGUMENTS_BAD);

  EXPECT(p11->C_VerifyInit(session, &sha256, private_key), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_VerifyInit(session, &sha256, public_key), CKR_OK);
  EXPECT(p11->C_Verify(session, text, 4, signature, 128), CKR_OK);
  EXPECT(p11->C_VerifyInit(session, &sha256, public_key), CKR_OK);
  EXPECT(p11->C_Verify(session, text, 4, signature, 127), CKR_SIGNATURE_LEN_RANGE);
  EXPECT(p11->C_VerifyInit(session, &sha256, public_key), CKR_OK);
  EXPECT(p11->C_VerifyUpdate(session, text, 3), CKR_OK);
  EXPECT(p11->C_VerifyFinal(session, signature, 128), CKR_SIGNATURE_INVALID);
}

/* pkcs11-provider puts public keys into sessions to verify with them. */
static void check_session_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
  CK_BYTE modulus[128], exponent[] = {0, 1, 0, 1}, signature[128], text[] = "text";
  CK_ULONG size = sizeof signature;
  CK_OBJECT_HANDLE created = 0, copied = 0;
  CK_ATTRIBUTE read = {CKA_MODULUS, modulus, sizeof modulus};
  EXPECT(p11->C_GetAttributeValue(session, public_key, &read, 1), CKR_OK);
  CK_ATTRIBUTE template[] = {{CKA_CLASS, &public_class, sizeof public_class}, {CKA_KEY_TYPE, &rsa, sizeof rsa},
                             {CKA_VERIFY, &yes, 1}, {CKA_TOKEN, &no, 1}, {CKA_MODULUS, modulus, sizeof modulus},
                             {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
  CK_ULONG before = find(session, &public_class, NULL);
  EXPECT(p11->C_CreateObject(session, template, 6, &created), CKR_OK);
  EXPECT(p11->C_CreateObject(session, template, 5, &copied), CKR_TEMPLATE_INCOMPLETE);
  template[0].pValue = &private_class;
  EXPECT(p11->C_CreateObject(session, template, 6, &copied), CKR_ATTRIBUTE_VALUE_INVALID);
  EXPECT(p11->C_CopyObject(session, private_key, NULL, 0, &copied), CKR_ACTION_PROHIBITED);
  EXPECT(p11->C_CopyObject(session, public_key, NULL, 0, &copied), CKR_OK);
  HOLDS(find(session, &public_class, NULL) == before + 2);
  CK_MECHANISM sha512 = {CKM_SHA512_RSA_PKCS, NULL, 0};
  EXPECT(p11->C_SignInit(session, &sha512, private_key), CKR_OK);
  EXPECT(p11->C_Sign(session, text, 4, signature, &size), CKR_OK);
  EXPECT(p11->C_VerifyInit(session, &sha512, created), CKR_OK);
  EXPECT(p11->C_Verify(session, text, 4, signature, size), CKR_OK);
  EXPECT(p11->C_VerifyInit(session, &sha512, copied), CKR_OK);
  EXPECT(p11->C_Verify(session, text, 4, signature, size), CKR_OK);
  CK_ATTRIBUTE label = {CKA_LABEL, text, 4};
  EXPECT(p11->C_SetAttributeValue(session, copied, &label, 1), CKR_OK);
  EXPECT(p11->C_SetAttributeValue(session, copied, template + 4, 1), CKR_ATTRIBUTE_READ_ONLY);
  EXPECT(p11->C_DestroyObject(session, created), CKR_OK);
  EXPECT(p11->C_DestroyObject(session, created), CKR_OBJECT_HANDLE_INVALID);
  HOLDS(find(session, &public_class, NULL) == before + 1);
}

/* A whole life with a daemon: login, keys, signatures, destruction. The token begins empty. */
static void test_walk(void)
{
  CK_OBJECT_HANDLE private_key = 0, public_key = 0;
  CK_SESSION_INFO info;
  CK_BYTE signature[512];
  CK_ULONG size = sizeof signature;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION), read_only = open_session(0);
  EXPECT(generate(session, 1024, &public_key, &private_key), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"4321", 4), CKR_PIN_INCORRECT);
  EXPECT(login(session), CKR_OK);
  EXPECT(login(read_only), CKR_USER_ALREADY_LOGGED_IN);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RW_USER_FUNCTIONS);
  EXPECT(generate(read_only, 1024, &public_key, &private_key), CKR_SESSION_READ_ONLY);
  EXPECT(generate(session, 1536, &public_key, &private_key), CKR_KEY_SIZE_RANGE);
  EXPECT(generate(session, 1024, &public_key, &private_key), CKR_OK);
  HOLDS(private_key == (public_key | 1));
  check_attributes(session, private_key, public_key);
  check_signing(session, private_key, public_key);
  check_session_objects(session, private_key, public_key);

  CK_OBJECT_HANDLE found = 0;
  HOLDS(find(session, &private_class, &found) == 1 && found == private_key);
  EXPECT(p11->C_Logout(session), CKR_OK);
  HOLDS(find(session, &private_class, NULL) == 0);
  EXPECT(sign(session, private_key, signature, &size), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_DestroyObject(session, private_key), CKR_OBJECT_HANDLE_INVALID);
  EXPECT(login(session), CKR_OK);
  EXPECT(p11->C_DestroyObject(read_only, private_key), CKR_SESSION_READ_ONLY);
  EXPECT(p11->C_DestroyObject(session, public_key), CKR_ACTION_PROHIBITED);
  EXPECT(p11->C_DestroyObject(session, private_key), CKR_OK);
  EXPECT(p11->C_DestroyObject(session, public_key), CKR_OK);
  EXPECT(p11->C_DestroyObject(session, public_key), CKR_OBJECT_HANDLE_INVALID);
  EXPECT(p11->C_CloseSession(read_only), CKR_OK);
  EXPECT(p11->C_CloseSession(session), CKR_OK);
  session = open_session(0);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RO_PUBLIC_SESSION);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* Tells the test that starts this program how far it is, and waits for its line. */
static void wait_after(const char *step)
{
  char line[8];
  puts(step);
  fflush(stdout);
  HOLDS(fgets(line, sizeof line, stdin) != NULL);
}

static CK_OBJECT_HANDLE prepare_key(CK_SESSION_HANDLE session)
{
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  EXPECT(login(session), CKR_OK);
  if (find(session, &private_class, &private_key) == 0) {
    EXPECT(generate(session, 1024, &public_key, &private_key), CKR_OK);
  }
  return private_key;
}

static int open_descriptors(void)
{
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

/* Section 6.6.1: a child begins anew, and leaves the parent's connection alone. */
static void test_fork(void)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  int before = open_descriptors();
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_OBJECT_HANDLE key = prepare_key(session);
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  pid_t child = fork();
  if (child == 0) {
    failures = 0;
    HOLDS(open_descriptors() == before);
    EXPECT(sign(session, key, signature, &size), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_Initialize(NULL), CKR_OK);
    EXPECT(sign(session, key, signature, &size), CKR_SESSION_HANDLE_INVALID);
    session = open_session(CKF_RW_SESSION);
    EXPECT(sign(session, key, signature, &size), CKR_USER_NOT_LOGGED_IN);
    key = prepare_key(session);
    EXPECT(sign(session, key, signature, &size), CKR_OK);
    EXPECT(p11->C_Finalize(NULL), CKR_OK);
    _exit(failures == 0 ? 0 : 1);
  }
  int status = 0;
  HOLDS(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

static CK_OBJECT_HANDLE shared_key;
static int signatures_each;
static CK_BYTE reference[128];

static void *sign_many(void *unused)
{
  (void)unused;
  CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < signatures_each; i++) {
    CK_BYTE signature[128];
    CK_ULONG size = sizeof signature;
    EXPECT(sign(session, shared_key, signature, &size), CKR_OK);
    HOLDS(memcmp(signature, reference, sizeof reference) == 0);
  }
  EXPECT(p11->C_CloseSession(session), CKR_OK);
  return NULL;
}

/* ARGUMENT: signatures per thread. */
static void test_threads(const char *argument)
{
  enum { THREADS = 16 };
  pthread_t threads[THREADS];
  CK_ULONG size = sizeof reference;
  CK_C_INITIALIZE_ARGS arguments = {.flags = 3};
  signatures_each = atoi(argument);
  EXPECT(p11->C_Initialize(&arguments), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  shared_key = prepare_key(session);
  EXPECT(sign(session, shared_key, reference, &size), CKR_OK);
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, sign_many, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

static void *sign_into_the_void(void *unused)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  CK_SESSION_HANDLE session = open_session(0);
  EXPECT(sign(session, shared_key, signature, &size), CKR_CRYPTOKI_NOT_INITIALIZED);
  return unused;
}

/* With a daemon that takes its time. C_Finalize with calls under way is wrong, and it happens. */
static void test_finalize_during_calls(void)
{
  pthread_t threads[4];
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  int before = open_descriptors();
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  shared_key = prepare_key(session);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, sign_into_the_void, NULL);
  usleep(500000);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  HOLDS(open_descriptors() == before);
}

/* ARGUMENT: milliseconds. Signs all the time while the test kills daemons; prints the count. */
static void test_endurance(const char *argument)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  struct timespec now;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_OBJECT_HANDLE key = prepare_key(session);
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  int before = open_descriptors(), count = 0;
  puts("ready");
  fflush(stdout);
  clock_gettime(CLOCK_MONOTONIC, &now);
  long end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + atol(argument);
  while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < end) {
    EXPECT(sign(session, key, signature, &size), CKR_OK);
    count++;
    clock_gettime(CLOCK_MONOTONIC, &now);
  }
  HOLDS(open_descriptors() == before);
  printf("%d signatures\n", count);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* Section 5.5 and 5.6: who has the recovery code is the security officer, and sets the PIN. Changes it to 5678. */
static void test_officer(void)
{
  CK_BYTE *code = (CK_BYTE *)"recovery", *pin = (CK_BYTE *)"5678";
  CK_SESSION_HANDLE other;
  CK_SESSION_INFO info;
  CK_OBJECT_HANDLE public_key, private_key;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_SESSION_HANDLE reader = open_session(0);
  EXPECT(p11->C_Login(session, CKU_SO, code, 8), CKR_SESSION_READ_ONLY_EXISTS);
  EXPECT(p11->C_CloseSession(reader), CKR_OK);
  EXPECT(p11->C_Login(session, CKU_SO, code, 7), CKR_PIN_INCORRECT);
  EXPECT(p11->C_InitPIN(session, pin, 4), CKR_USER_NOT_LOGGED_IN);
  for (int i = 0; i < 3; i++) EXPECT(p11->C_Login(session, CKU_USER, pin, 4), CKR_PIN_INCORRECT);
  EXPECT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4), CKR_PIN_LOCKED);

  EXPECT(p11->C_Login(session, CKU_SO, code, 8), CKR_OK);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RW_SO_FUNCTIONS);
  EXPECT(p11->C_Login(session, CKU_SO, code, 8), CKR_USER_ALREADY_LOGGED_IN);
  EXPECT(p11->C_Login(session, CKU_USER, pin, 4), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
  EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &other), CKR_SESSION_READ_WRITE_SO_EXISTS);
  EXPECT(p11->C_SetPIN(session, code, 8, pin, 4), CKR_TOKEN_WRITE_PROTECTED);
  EXPECT(generate(session, 1024, &public_key, &private_key), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_InitPIN(session, NULL, 4), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_InitPIN(session, pin, 0), CKR_PIN_LEN_RANGE);
  EXPECT(p11->C_InitPIN(session, pin, 1), CKR_PIN_INVALID);
  EXPECT(p11->C_InitPIN(session, pin, 4), CKR_OK);
  EXPECT(p11->C_Logout(session), CKR_OK);
  EXPECT(p11->C_InitPIN(session, pin, 4), CKR_USER_NOT_LOGGED_IN);

  EXPECT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4), CKR_PIN_INCORRECT);
  EXPECT(p11->C_Login(session, CKU_USER, pin, 4), CKR_OK);
  EXPECT(p11->C_Login(session, CKU_SO, code, 8), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
  EXPECT(p11->C_Logout(session), CKR_OK);
  EXPECT(p11->C_Login(session, CKU_SO, code, 8), CKR_OK);
  EXPECT(p11->C_CloseSession(session), CKR_OK);
  session = open_session(0);
  EXPECT(p11->C_GetSessionInfo(session, &info), CKR_OK);
  HOLDS(info.state == CKS_RO_PUBLIC_SESSION);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* The first call of an outage waits for its end, a zone's worth of others do not. ARGUMENT: how many outages. */
static void test_outage(const char *argument)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_OBJECT_HANDLE key = prepare_key(session);
  for (int round = 0; round < atoi(argument); round++) {
    EXPECT(sign(session, key, signature, &size), CKR_OK);
    wait_after("ready");
    for (int i = 0; i < 1000; i++) EXPECT(sign(session, key, signature, &size), CKR_DEVICE_ERROR);
    wait_after("failed");
  }
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* An application that closes every descriptor, as daemons do, and opens files in their place. */
static void test_closed_descriptors(void)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_OBJECT_HANDLE key = prepare_key(session);
  for (int fd = 3; fd < 64; fd++) close(fd);
  int files[8];
  for (int i = 0; i < 8; i++) files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  for (int i = 0; i < 8; i++) HOLDS(fcntl(files[i], F_GETFD) >= 0);
}

/* Against a server of garbage: any error will do, within the timeout and without a crash. */
static void test_hostile(void)
{
  CK_ATTRIBUTE wanted = {CKA_CLASS, &public_class, sizeof public_class};
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  HOLDS(p11->C_FindObjectsInit(session, &wanted, 1) != CKR_OK);
  HOLDS(login(session) != CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* After the daemon was told of another PIN: the old login is over, and nothing hangs. */
static void test_stale_ticket(void)
{
  CK_BYTE signature[128];
  CK_ULONG size = sizeof signature;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  CK_OBJECT_HANDLE key = prepare_key(session);
  wait_after("ready");
  EXPECT(sign(session, key, signature, &size), CKR_USER_NOT_LOGGED_IN);
  EXPECT(sign(session, key, signature, &size), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"5678", 4), CKR_OK);
  EXPECT(sign(session, key, signature, &size), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* Begins without a configuration file; the test writes one when told. */
static void test_configuration(void)
{
  CK_ULONG count = 9;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  EXPECT(p11->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
  HOLDS(count == 0);
  wait_after("ready");
  EXPECT(p11->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
  HOLDS(count == 2);
  EXPECT(p11->C_CloseSession(open_session(0)), CKR_OK);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

/* ARGUMENT: a mechanism's number. Prints the digest of standard input, taken in odd pieces. */
static void test_digest(const char *argument)
{
  static CK_BYTE data[1 << 20];
  CK_BYTE digest[64];
  CK_ULONG size = sizeof digest, length = fread(data, 1, sizeof data, stdin);
  CK_MECHANISM mechanism = {strtoul(argument, NULL, 0), NULL, 0};
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(0);
  EXPECT(p11->C_DigestInit(session, &mechanism), CKR_OK);
  for (CK_ULONG at = 0, step = 1; at < length; at += step, step = step * 3 % 1021 + 1) {
    if (step > length - at) step = length - at;
    EXPECT(p11->C_DigestUpdate(session, data + at, step), CKR_OK);
  }
  EXPECT(p11->C_DigestFinal(session, digest, &size), CKR_OK);
  for (CK_ULONG i = 0; i < size; i++) printf("%02x", digest[i]);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

static CK_OBJECT_HANDLE find_usable(CK_SESSION_HANDLE session, CK_ATTRIBUTE_TYPE usage)
{
  CK_ATTRIBUTE wanted = {usage, &yes, 1};
  CK_OBJECT_HANDLE found = 0;
  CK_ULONG count = 0;
  EXPECT(p11->C_FindObjectsInit(session, &wanted, 1), CKR_OK);
  EXPECT(p11->C_FindObjects(session, &found, 1, &count), CKR_OK);
  EXPECT(p11->C_FindObjectsFinal(session), CKR_OK);
  HOLDS(count == 1);
  return found;
}

/* With a decryption key of 2048 bits on the token. */
static void test_cipher(void)
{
  enum { SIZE = 256 };
  CK_BYTE cipher[SIZE], plain[SIZE], zeros[SIZE] = {0}, text[] = "text", label[] = "label";
  CK_ULONG size = SIZE;
  CK_RSA_PKCS_OAEP_PARAMS parameters = {CKM_SHA256, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, label, 5};
  CK_MECHANISM ways[] = {{CKM_RSA_PKCS, NULL, 0}, {CKM_RSA_X_509, NULL, 0}, {CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters}};
  static const CK_ULONG most[] = {SIZE - 11, SIZE, SIZE - 66};
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_session(0);
  EXPECT(login(session), CKR_OK);
  CK_OBJECT_HANDLE opener = find_usable(session, CKA_DECRYPT), recipient = find_usable(session, CKA_ENCRYPT);
  CK_OBJECT_HANDLE signer = find_usable(session, CKA_SIGN);
  EXPECT(p11->C_EncryptInit(session, ways, opener), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_DecryptInit(session, ways, recipient), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_DecryptInit(session, ways, signer), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_SignInit(session, ways, opener), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT(p11->C_DecryptInit(session, ways, 4711), CKR_KEY_HANDLE_INVALID);
  EXPECT(p11->C_WrapKey(session, ways, recipient, opener, cipher, &size), CKR_KEY_UNEXTRACTABLE);
  EXPECT(p11->C_WrapKey(session, ways, recipient, recipient, cipher, &size), CKR_KEY_NOT_WRAPPABLE);
  for (int i = 0; i < 3; i++) {
    EXPECT(p11->C_EncryptInit(session, &ways[i], recipient), CKR_OK);
    EXPECT(p11->C_EncryptInit(session, &ways[i], recipient), CKR_OPERATION_ACTIVE);
    EXPECT(p11->C_Encrypt(session, text, 4, NULL, &size), CKR_OK);
    HOLDS(size == SIZE);
    size = SIZE - 1;
    EXPECT(p11->C_Encrypt(session, text, 4, cipher, &size), CKR_BUFFER_TOO_SMALL);
    HOLDS(size == SIZE);
    EXPECT(p11->C_Encrypt(session, text, 4, cipher, &size), CKR_OK);
    EXPECT(p11->C_Encrypt(session, text, 4, cipher, &size), CKR_OPERATION_NOT_INITIALIZED);

    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OK);
    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OPERATION_ACTIVE);
    EXPECT(p11->C_Decrypt(session, cipher, SIZE, NULL, &size), CKR_OK);
    HOLDS(size == most[i]);
    size = 3;
    EXPECT(p11->C_Decrypt(session, cipher, SIZE, plain, &size), CKR_BUFFER_TOO_SMALL);
    HOLDS(size == (i == 1 ? SIZE : 4));
    EXPECT(p11->C_Decrypt(session, cipher, SIZE, plain, &size), CKR_OK);
    HOLDS(memcmp(plain + size - 4, text, 4) == 0);
    EXPECT(p11->C_Decrypt(session, cipher, SIZE, plain, &size), CKR_OPERATION_NOT_INITIALIZED);

    size = SIZE;
    EXPECT(p11->C_EncryptInit(session, &ways[i], recipient), CKR_OK);
    EXPECT(p11->C_Encrypt(session, zeros, most[i] + (i != 1), cipher, &size), i == 1 ? CKR_OK : CKR_DATA_LEN_RANGE);
    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OK);
    EXPECT(p11->C_Decrypt(session, cipher, SIZE - 1, plain, &size), CKR_ENCRYPTED_DATA_LEN_RANGE);
    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OK);
    EXPECT(p11->C_Decrypt(session, NULL, SIZE, plain, &size), CKR_ARGUMENTS_BAD);
    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OK);
    EXPECT(p11->C_DecryptUpdate(session, cipher, SIZE, plain, &size), CKR_FUNCTION_NOT_SUPPORTED);
    EXPECT(p11->C_DecryptFinal(session, plain, &size), CKR_OPERATION_NOT_INITIALIZED);
    size = SIZE;
    EXPECT(p11->C_DecryptInit(session, &ways[i], opener), CKR_OK);
    EXPECT(p11->C_Decrypt(session, zeros, SIZE, plain, &size), CKR_ENCRYPTED_DATA_INVALID);
  }
  parameters.hashAlg = CKM_MD5;
  EXPECT(p11->C_DecryptInit(session, &ways[2], opener), CKR_MECHANISM_PARAM_INVALID);
  parameters = (CK_RSA_PKCS_OAEP_PARAMS){CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 5};
  EXPECT(p11->C_DecryptInit(session, &ways[2], opener), CKR_MECHANISM_PARAM_INVALID);
  parameters.ulSourceDataLen = 0;
  EXPECT(p11->C_DecryptInit(session, &ways[2], opener), CKR_OK);
  EXPECT(p11->C_Logout(session), CKR_OK);
  EXPECT(p11->C_Decrypt(session, cipher, SIZE, plain, &size), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}

int main(int count, char **arguments)
{
  const char *scenario = count > 2 ? arguments[2] : "", *argument = count > 3 ? arguments[3] : "";
  void *module = dlopen(count > 1 ? arguments[1] : "", RTLD_NOW | RTLD_LOCAL);
  if (module == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  EXPECT(get(NULL), CKR_ARGUMENTS_BAD);
  EXPECT(get(&p11), CKR_OK);
  if (strcmp(scenario, "initialize") == 0) test_initialize();
  else if (strcmp(scenario, "local") == 0) test_local();
  else if (strcmp(scenario, "walk") == 0) test_walk();
  else if (strcmp(scenario, "fork") == 0) test_fork();
  else if (strcmp(scenario, "threads") == 0) test_threads(argument);
  else if (strcmp(scenario, "finalize-during-calls") == 0) test_finalize_during_calls();
  else if (strcmp(scenario, "endurance") == 0) test_endurance(argument);
  else if (strcmp(scenario, "officer") == 0) test_officer();
  else if (strcmp(scenario, "outage") == 0) test_outage(argument);
  else if (strcmp(scenario, "closed-descriptors") == 0) test_closed_descriptors();
  else if (strcmp(scenario, "hostile") == 0) test_hostile();
  else if (strcmp(scenario, "stale-ticket") == 0) test_stale_ticket();
  else if (strcmp(scenario, "configuration") == 0) test_configuration();
  else if (strcmp(scenario, "digest") == 0) test_digest(argument);
  else if (strcmp(scenario, "cipher") == 0) test_cipher();
  else return 2;
  return failures == 0 ? 0 : 1;
}
