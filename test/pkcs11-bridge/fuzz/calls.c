/* Any call after any other: each step is four bytes, function, handle, size and choice. The daemon is good or fails. */
#include "in-process.h"
#include "pkcs11.h"

enum { STEP = 4, HANDLES = 8 };

struct life {
  CK_SESSION_HANDLE sessions[HANDLES];
  CK_OBJECT_HANDLE objects[HANDLES];
  unsigned opened, made;
};

static CK_BYTE in[1024], out[1024];
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
static CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, in, 5};
static CK_MECHANISM mechanisms[] = {
  {CKM_RSA_PKCS, NULL, 0},         {CKM_SHA256_RSA_PKCS, NULL, 0}, {CKM_RSA_X_509, NULL, 0},
  {CKM_RSA_PKCS_PSS, &pss, sizeof pss}, {CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep}, {CKM_SHA_1, NULL, 0},
  {CKM_SHA512, NULL, 0},           {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, {CKM_AES_CBC, in, 3},
};
static CK_OBJECT_CLASS classes[] = {CKO_PUBLIC_KEY, CKO_CERTIFICATE, CKO_DATA, CKO_PRIVATE_KEY};
static CK_ULONG rsa = CKK_RSA, bits = 2048, x509 = CKC_X_509;

/* A template out of two bytes: how many attributes, and from where in the list on. */
static CK_ULONG make_template(CK_ATTRIBUTE *template, uint8_t size, uint8_t choice)
{
  const CK_ATTRIBUTE known[] = {
    {CKA_CLASS, &classes[choice % 4], sizeof classes[0]}, {CKA_KEY_TYPE, &rsa, sizeof rsa},
    {CKA_MODULUS, in, size}, {CKA_PUBLIC_EXPONENT, "\1\0\1", 3}, {CKA_LABEL, in, choice}, {CKA_ID, in, size % 32},
    {CKA_TOKEN, choice % 2 ? &yes : &no, 1}, {CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_PRIVATE, &no, 1},
    {CKA_CERTIFICATE_TYPE, &x509, sizeof x509}, {CKA_VALUE, in, size}, {CKA_SUBJECT, in, size % 7},
    {CKA_SIGN, &yes, 1}, {CKA_DECRYPT, &yes, choice % 3}, {CKA_VALUE, NULL, 0}, {CKA_EXTRACTABLE, &no, 1},
  };
  enum { KNOWN = sizeof known / sizeof known[0] };
  CK_ULONG count = size % KNOWN;
  for (CK_ULONG i = 0; i < count; i++) template[i] = known[(choice / 16 + i) % KNOWN];
  return count;
}

static void keep(CK_ULONG *list, unsigned *next, CK_RV result, CK_ULONG handle)
{
  if (result == CKR_OK) list[(*next)++ % HANDLES] = handle;
}

static void general(uint8_t function, uint8_t choice)
{
  union {
    CK_INFO info;
    CK_SLOT_INFO slot;
    CK_TOKEN_INFO token;
    CK_MECHANISM_INFO mechanism;
    CK_MECHANISM_TYPE types[64];
  } any;
  CK_ULONG count = choice % 64;
  switch (function % 6) {
  case 0: (void)C_GetInfo(&any.info); break;
  case 1: (void)C_GetSlotList(CK_TRUE, any.types, &count); break;
  case 2: (void)C_GetSlotInfo(choice % 3, &any.slot); break;
  case 3: (void)C_GetTokenInfo(choice % 3, &any.token); break;
  case 4: (void)C_GetMechanismList(choice % 3, any.types, &count); break;
  default: (void)C_GetMechanismInfo(0, mechanisms[choice % 9].mechanism, &any.mechanism);
  }
}

static void step(struct life *life, const uint8_t *at)
{
  uint8_t size8 = at[2], choice = at[3];
  CK_SESSION_HANDLE h = life->sessions[at[1] % HANDLES];
  CK_OBJECT_HANDLE key = at[1] & 8 ? PRIVATE_HANDLE : at[1] & 16 ? PUBLIC_HANDLE : life->objects[at[1] / 32];
  CK_MECHANISM *mechanism = &mechanisms[choice % 9];
  CK_ULONG size = size8 * 4u, out_size = choice * 4u;
  CK_BYTE *to = choice == 0 ? NULL : out;
  CK_ATTRIBUTE template[16];
  CK_ULONG count = make_template(template, size8, choice);
  CK_ULONG handle = 0, other = 0;
  switch (at[0] % 48) {
  case 0: keep(life->sessions, &life->opened, C_OpenSession(choice % 3, CKF_SERIAL_SESSION | (size8 & 2), NULL, NULL, &handle), handle); break;
  case 1: (void)C_CloseSession(h); break;
  case 2: if (choice == 1) (void)C_CloseAllSessions(size8 % 2); break;
  case 3: (void)C_Login(h, choice % 4 == 3 ? CKU_SO : CKU_USER, in, size8); break;
  case 4: (void)C_Logout(h); break;
  case 5: (void)C_FindObjectsInit(h, template, count); break;
  case 6: (void)C_FindObjects(h, life->objects, choice % (HANDLES + 1), &count); break;
  case 7: (void)C_FindObjectsFinal(h); break;
  case 8: keep(life->objects, &life->made, C_CreateObject(h, template, count, &handle), handle); break;
  case 9: keep(life->objects, &life->made, C_CopyObject(h, key, template, count, &handle), handle); break;
  case 10: (void)C_DestroyObject(h, key); break;
  case 11: (void)C_SetAttributeValue(h, key, template, count); break;
  case 12: (void)C_GetObjectSize(h, key, &count); break;
  case 13:
    for (CK_ULONG i = 0; i < count; i++) template[i].pValue = to, template[i].ulValueLen = size;
    (void)C_GetAttributeValue(h, key, template, count);
    break;
  case 14: (void)C_SignInit(h, mechanism, key); break;
  case 15: (void)C_Sign(h, in, size, to, &out_size); break;
  case 16: (void)C_SignUpdate(h, in, size); break;
  case 17: (void)C_SignFinal(h, to, &out_size); break;
  case 18: (void)C_VerifyInit(h, mechanism, key); break;
  case 19: (void)C_Verify(h, in, size, out, out_size); break;
  case 20: (void)C_VerifyUpdate(h, in, size); break;
  case 21: (void)C_VerifyFinal(h, out, out_size); break;
  case 22: (void)C_EncryptInit(h, mechanism, key); break;
  case 23: (void)C_Encrypt(h, in, size, to, &out_size); break;
  case 24: (void)C_DecryptInit(h, mechanism, key); break;
  case 25: (void)C_Decrypt(h, in, size, to, &out_size); break;
  case 26: (void)C_DigestInit(h, mechanism); break;
  case 27: (void)C_Digest(h, in, size, to, &out_size); break;
  case 28: (void)C_DigestUpdate(h, in, size); break;
  case 29: (void)C_DigestFinal(h, to, &out_size); break;
  case 30: (void)C_GenerateKeyPair(h, mechanism, template, count, template, count / 2, &handle, &other); break;
  case 31: (void)C_SetPIN(h, in, size8, in, choice); break;
  case 32: (void)C_WrapKey(h, mechanism, key, life->objects[0], to, &out_size); break;
  case 33: (void)C_GenerateRandom(h, out, size); break;
  case 34: (void)C_DecryptUpdate(h, in, size, to, &out_size); break;
  case 35: (void)C_EncryptFinal(h, to, &out_size); break;
  case 36: (void)C_InitToken(choice % 3, in, size, in); break;
  case 37: (void)C_GetSessionInfo(h, (CK_SESSION_INFO *)(void *)out); break;
  case 38: if (C_Finalize(NULL) != CKR_OK || C_Initialize(NULL) != CKR_OK) __builtin_trap(); break;
  case 39: (void)C_InitPIN(h, in, size8); break;
  default: general(at[0], choice);
  }
}

/* The first byte says how many bytes of replies come before the steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct life life = {0};
  size_t replies = size > 0 ? data[0] : 0;
  if (size > 0) data++, size--;
  if (replies > size) replies = size;
  answer_from(data, replies);
  if (C_Initialize(NULL) != CKR_OK) __builtin_trap();
  if (C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &life.sessions[0]) != CKR_OK) __builtin_trap();
  life.opened = 1;
  for (const uint8_t *at = data + replies; at + STEP <= data + size; at += STEP) step(&life, at);
  if (C_Finalize(NULL) != CKR_OK) __builtin_trap();
  return 0;
}
