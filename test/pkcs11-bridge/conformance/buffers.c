/*
 * Outputs (v2.40 section 5.2): NULL asks for the length, too small a buffer is CKR_BUFFER_TOO_SMALL with the length,
 * neither ends the operation, and not a byte is written beyond what was offered.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

typedef CK_RV producer(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *size);

static CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};
static CK_BYTE data[32] = "thirty-two bytes of a message...", cipher[MODULUS_SIZE];

static CK_RV do_sign(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_Sign(h, data, sizeof data, out, size); }
static CK_RV do_sign_final(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_SignFinal(h, out, size); }
static CK_RV do_digest(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_Digest(h, data, sizeof data, out, size); }
static CK_RV do_digest_final(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_DigestFinal(h, out, size); }
static CK_RV do_encrypt(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_Encrypt(h, data, sizeof data, out, size); }
static CK_RV do_decrypt(CK_SESSION_HANDLE h, CK_BYTE *out, CK_ULONG *size) { return p11->C_Decrypt(h, cipher, sizeof cipher, out, size); }

/* Sizes from nothing to one too few, then enough. The buffer is exactly as long as we say: sanitizers watch its end. */
static void check_output(CK_SESSION_HANDLE session, producer *produce, CK_ULONG needed, CK_ULONG at_most)
{
  CK_ULONG size = 1;
  EXPECT(produce(session, NULL, &size), CKR_OK);
  HOLDS(size == at_most);
  const CK_ULONG tries[] = {0, 1, needed / 2, needed - 1};
  for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
    CK_BYTE *small = malloc(tries[i] + 1);
    memset(small, 0xa5, tries[i] + 1);
    size = tries[i];
    EXPECT(produce(session, small, &size), CKR_BUFFER_TOO_SMALL);
    HOLDS(size == needed && small[tries[i]] == 0xa5);
    free(small);
  }
  CK_BYTE *enough = malloc(needed);
  size = needed;
  EXPECT(produce(session, enough, &size), CKR_OK);
  HOLDS(size == needed);
  free(enough);
}

static void check_lists(void)
{
  CK_ULONG count = 0, have = 0;
  CK_SLOT_ID slots[2] = {77, 77};
  EXPECT(p11->C_GetSlotList(CK_TRUE, NULL, &have), CKR_OK);
  HOLDS(have == 2);
  for (count = 0; count < 2; count = count == 2 ? 1 : count + 1) {
    CK_ULONG offered = count;
    EXPECT(p11->C_GetSlotList(CK_FALSE, slots, &offered), CKR_BUFFER_TOO_SMALL);
    HOLDS(offered == 2 && slots[0] == 77 && slots[1] == 77);
  }
  EXPECT(p11->C_GetMechanismList(0, NULL, &have), CKR_OK);
  CK_MECHANISM_TYPE *types = calloc(have, sizeof *types);
  count = have - 1;
  EXPECT(p11->C_GetMechanismList(0, types, &count), CKR_BUFFER_TOO_SMALL);
  HOLDS(count == have && types[0] == 0);
  EXPECT(p11->C_GetMechanismList(0, types, &count), CKR_OK);
  for (CK_ULONG i = 0; i < have; i++) {
    CK_MECHANISM_INFO info;
    EXPECT(p11->C_GetMechanismInfo(0, types[i], &info), CKR_OK);
    HOLDS(info.flags != 0 && info.ulMinKeySize <= info.ulMaxKeySize);
  }
  free(types);
}

/* Section 5.7, C_GetAttributeValue: every attribute of a template gets its length or −1, whatever the others do. */
static void check_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
  for (CK_ULONG offered = 0; offered < MODULUS_SIZE; offered += 51) {
    CK_BYTE *small = malloc(offered + 1), exponent[3];
    small[offered] = 0xa5;
    CK_ATTRIBUTE wanted[] = {{CKA_MODULUS, small, offered}, {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent},
                             {CKA_MODULUS, NULL, 0}, {CKA_PRIVATE_EXPONENT, small, offered}};
    EXPECT(p11->C_GetAttributeValue(session, key, wanted, 3), CKR_BUFFER_TOO_SMALL);
    HOLDS(wanted[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && small[offered] == 0xa5);
    HOLDS(wanted[1].ulValueLen == 3 && exponent[0] == 1 && exponent[2] == 1);
    HOLDS(wanted[2].ulValueLen == MODULUS_SIZE);
    wanted[0].pValue = NULL;
    HOLDS(p11->C_GetAttributeValue(session, key, wanted, 4) != CKR_OK);
    HOLDS(wanted[0].ulValueLen == MODULUS_SIZE && wanted[3].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    free(small);
  }
  EXPECT(p11->C_GetAttributeValue(session, key, NULL, 3), CKR_ARGUMENTS_BAD);
}

void check_buffers(void)
{
  struct keys keys;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  check_lists();
  CK_SESSION_HANDLE session = open_for_user(&keys);
  check_attributes(session, keys.verifier);
  EXPECT(p11->C_SignInit(session, &rsa, keys.signer), CKR_OK);
  check_output(session, do_sign, MODULUS_SIZE, MODULUS_SIZE);
  EXPECT(p11->C_SignInit(session, &rsa, keys.signer), CKR_OK);
  EXPECT(p11->C_SignUpdate(session, data, sizeof data), CKR_OK);
  check_output(session, do_sign_final, MODULUS_SIZE, MODULUS_SIZE);
  EXPECT(p11->C_DigestInit(session, &sha256), CKR_OK);
  check_output(session, do_digest, 32, 32);
  EXPECT(p11->C_DigestInit(session, &sha256), CKR_OK);
  EXPECT(p11->C_DigestUpdate(session, data, sizeof data), CKR_OK);
  check_output(session, do_digest_final, 32, 32);
  EXPECT(p11->C_EncryptInit(session, &rsa, keys.recipient), CKR_OK);
  check_output(session, do_encrypt, MODULUS_SIZE, MODULUS_SIZE);
  CK_ULONG size = sizeof cipher;
  EXPECT(p11->C_EncryptInit(session, &rsa, keys.recipient), CKR_OK);
  EXPECT(p11->C_Encrypt(session, data, sizeof data, cipher, &size), CKR_OK);
  EXPECT(p11->C_DecryptInit(session, &rsa, keys.opener), CKR_OK);
  check_output(session, do_decrypt, sizeof data, MODULUS_SIZE - 11);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}
