/* What the daemon says is anything: one application's life, answered by the fuzzer's bytes. */
#include <stdlib.h>

#include "in-process.h"
#include "pkcs11.h"

static void read_all(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  static const CK_ATTRIBUTE_TYPE types[] = {CKA_CLASS, CKA_LABEL, CKA_ID, CKA_MODULUS, CKA_ALLOWED_MECHANISMS, CKA_SENSITIVE};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    CK_ATTRIBUTE wanted = {types[i], NULL, 0};
    if (C_GetAttributeValue(session, object, &wanted, 1) != CKR_OK) continue;
    wanted.pValue = malloc(wanted.ulValueLen + 1);
    (void)C_GetAttributeValue(session, object, &wanted, 1);
    free(wanted.pValue);
  }
}

static void use(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0};
  CK_BYTE in[512] = {1}, out[512];
  CK_ULONG size = sizeof out;
  read_all(session, object);
  if (C_SignInit(session, &rsa, object) == CKR_OK) (void)C_Sign(session, in, 4, out, &size);
  size = sizeof out;
  if (C_DecryptInit(session, &rsa, object) == CKR_OK) (void)C_Decrypt(session, in, MODULUS_SIZE, out, &size);
  size = sizeof out;
  if (C_EncryptInit(session, &rsa, object) == CKR_OK) (void)C_Encrypt(session, in, 4, out, &size);
  if (C_VerifyInit(session, &rsa, object) == CKR_OK) (void)C_Verify(session, in, 4, out, MODULUS_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE objects[16], made[2];
  CK_ULONG count = 0, bits = 2048;
  CK_BBOOL yes = CK_TRUE;
  CK_MECHANISM pair = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
  CK_ATTRIBUTE public_template = {CKA_MODULUS_BITS, &bits, sizeof bits}, private_template = {CKA_TOKEN, &yes, 1};
  answer_from(data, size);
  if (C_Initialize(NULL) != CKR_OK) __builtin_trap();
  if (C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK) __builtin_trap();
  (void)C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4);
  if (C_FindObjectsInit(session, NULL, 0) == CKR_OK) {
    (void)C_FindObjects(session, objects, 16, &count);
    (void)C_FindObjectsFinal(session);
  }
  for (CK_ULONG i = 0; i < count; i++) use(session, objects[i]);
  if (C_GenerateKeyPair(session, &pair, &public_template, 1, &private_template, 1, &made[0], &made[1]) == CKR_OK) {
    use(session, made[1]);
    (void)C_DestroyObject(session, made[1]);
  }
  (void)C_Logout(session);
  if (C_Finalize(NULL) != CKR_OK) __builtin_trap();
  return 0;
}
