/*
 * Every function while each kind of operation is under way: what is for another operation changes nothing, a second
 * Init is refused, and the operation that was begun still ends as it should (v2.40 section 5.2 and table 5).
 */
#include <string.h>

#include "suite.h"

static CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};
static CK_MECHANISM sha256_rsa = {CKM_SHA256_RSA_PKCS, NULL, 0};
static CK_BYTE data[32];

struct state {
  const char *name; /* functions with this in their name belong to the operation, and are left out */
  CK_RV (*begin)(CK_SESSION_HANDLE session, const struct keys *keys);
  CK_RV (*end)(CK_SESSION_HANDLE session, const struct keys *keys);
};

static CK_RV begin_sign(CK_SESSION_HANDLE h, const struct keys *k) { return p11->C_SignInit(h, &sha256_rsa, k->signer); }
static CK_RV begin_verify(CK_SESSION_HANDLE h, const struct keys *k) { return p11->C_VerifyInit(h, &sha256_rsa, k->verifier); }
static CK_RV begin_encrypt(CK_SESSION_HANDLE h, const struct keys *k) { return p11->C_EncryptInit(h, &rsa, k->recipient); }
static CK_RV begin_decrypt(CK_SESSION_HANDLE h, const struct keys *k) { return p11->C_DecryptInit(h, &rsa, k->opener); }
static CK_RV begin_digest(CK_SESSION_HANDLE h, const struct keys *k) { (void)k; return p11->C_DigestInit(h, &sha256); }
static CK_RV begin_find(CK_SESSION_HANDLE h, const struct keys *k) { (void)k; return p11->C_FindObjectsInit(h, NULL, 0); }

static CK_RV end_sign(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE signature[MODULUS_SIZE];
  CK_ULONG size = sizeof signature;
  return p11->C_Sign(h, data, sizeof data, signature, &size);
}

static CK_RV end_sign_in_parts(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE signature[MODULUS_SIZE];
  CK_ULONG size = sizeof signature;
  CK_RV result = p11->C_SignUpdate(h, data, sizeof data);
  if (result != CKR_OK) return result;
  EXPECT(p11->C_Sign(h, data, sizeof data, signature, &size), CKR_OPERATION_ACTIVE);
  EXPECT(p11->C_SignUpdate(h, NULL, 0), CKR_OK);
  return p11->C_SignFinal(h, signature, &size);
}

static CK_RV end_verify(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE signature[MODULUS_SIZE] = {0};
  CK_RV result = p11->C_Verify(h, data, sizeof data, signature, sizeof signature);
  return result == CKR_SIGNATURE_INVALID ? CKR_OK : result;
}

static CK_RV end_encrypt(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE cipher[MODULUS_SIZE];
  CK_ULONG size = sizeof cipher;
  return p11->C_Encrypt(h, data, sizeof data, cipher, &size);
}

static CK_RV end_decrypt(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE cipher[MODULUS_SIZE] = {0}, plain[MODULUS_SIZE];
  CK_ULONG size = sizeof plain;
  CK_RV result = p11->C_Decrypt(h, cipher, sizeof cipher, plain, &size);
  return result == CKR_ENCRYPTED_DATA_INVALID ? CKR_OK : result;
}

static CK_RV end_digest(CK_SESSION_HANDLE h, const struct keys *k)
{
  (void)k;
  CK_BYTE digest[32];
  CK_ULONG size = sizeof digest;
  CK_RV result = p11->C_DigestFinal(h, NULL, &size);
  if (result != CKR_OK) return result;
  return p11->C_Digest(h, data, sizeof data, digest, &size);
}

static CK_RV end_find(CK_SESSION_HANDLE h, const struct keys *k) { (void)k; return p11->C_FindObjectsFinal(h); }

static const struct state states[] = {
  {"Sign", begin_sign, end_sign},          {"Sign", begin_sign, end_sign_in_parts},
  {"Verify", begin_verify, end_verify},    {"crypt", begin_encrypt, end_encrypt},
  {"crypt", begin_decrypt, end_decrypt},   {"Digest", begin_digest, end_digest},
  {"FindObjects", begin_find, end_find},
};

/* Results that the table has for a session without a login change when somebody is logged in. */
static bool depends_on_login(const char *name)
{
  static const char *const names[] = {"C_Logout", "C_InitPIN", "C_Login"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(name, names[i]) == 0) return true;
  }
  return false;
}

static void check_state(const struct state *state, CK_SESSION_HANDLE session, const struct keys *keys)
{
  EXPECT(state->begin(session, keys), CKR_OK);
  EXPECT(state->begin(session, keys), CKR_OPERATION_ACTIVE);
  for (size_t i = 0; i < function_count; i++) {
    const struct function *each = &functions[i];
    if (strstr(each->name, state->name) != NULL || depends_on_login(each->name)) continue;
    CK_RV got = each->with_nulls(each->scope == SESSION ? session : 0);
    if (got != each->nulls) fprintf(stderr, "while %s: %s: 0x%lx\n", state->name, each->name, got), failures++;
  }
  EXPECT(state->end(session, keys), CKR_OK);
  /* Ended: there is nothing more to end, and the next one begins. */
  CK_RV again = state->end(session, keys);
  HOLDS(again == CKR_OPERATION_NOT_INITIALIZED);
  EXPECT(state->begin(session, keys), CKR_OK);
}

/* A login belongs to all sessions; the last one that closes takes it with it; a closed one takes its operations. */
static void check_sessions(const struct keys *keys)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE other = open_session(0);
  EXPECT(p11->C_GetSessionInfo(other, &info), CKR_OK);
  HOLDS(info.state == CKS_RO_USER_FUNCTIONS);
  EXPECT(p11->C_Login(other, CKU_USER, (CK_BYTE *)"1234", 4), CKR_USER_ALREADY_LOGGED_IN);
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    CK_SESSION_HANDLE session = open_session(0);
    EXPECT(states[i].begin(session, keys), CKR_OK);
    EXPECT(p11->C_CloseSession(session), CKR_OK);
    EXPECT(states[i].end(session, keys), CKR_SESSION_HANDLE_INVALID);
  }
  EXPECT(p11->C_SignInit(other, &rsa, keys->signer), CKR_OK);
  EXPECT(p11->C_Logout(other), CKR_OK);
  EXPECT(p11->C_SignInit(other, &rsa, keys->signer), CKR_OPERATION_ACTIVE);
  EXPECT(end_sign(other, keys), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_SignInit(other, &rsa, keys->signer), CKR_USER_NOT_LOGGED_IN);
  EXPECT(p11->C_CloseAllSessions(0), CKR_OK);
}

void check_states(void)
{
  struct keys keys;
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  CK_SESSION_HANDLE session = open_for_user(&keys);
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    CK_SESSION_HANDLE own = open_session(0);
    check_state(&states[i], own, &keys);
    EXPECT(p11->C_CloseSession(own), CKR_OK);
  }
  check_sessions(&keys);
  EXPECT(p11->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
}
