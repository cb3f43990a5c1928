#include "mechanism.h"

enum { SALT_MAX = 64, BITS_MIN = 1024, BITS_MAX = 4096 };

struct known {
  CK_MECHANISM_TYPE type;
  CK_FLAGS flags;
  enum hash_kind hash;
  bool hashes;
  bool pss;
};

/* CKF_HW: done by the token, not by this library. pkcs11-tool --test asks for it. */
#define SIGN (CKF_HW | CKF_SIGN | CKF_VERIFY)
static const struct known table[] = {
  {CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_HW | CKF_GENERATE_KEY_PAIR, HASH_NONE, false, false},
  {CKM_RSA_PKCS, SIGN, HASH_NONE, false, false},
  {CKM_RSA_X_509, SIGN, HASH_NONE, false, false},
  {CKM_SHA1_RSA_PKCS, SIGN, HASH_SHA1, true, false},
  {CKM_SHA224_RSA_PKCS, SIGN, HASH_SHA224, true, false},
  {CKM_SHA256_RSA_PKCS, SIGN, HASH_SHA256, true, false},
  {CKM_SHA384_RSA_PKCS, SIGN, HASH_SHA384, true, false},
  {CKM_SHA512_RSA_PKCS, SIGN, HASH_SHA512, true, false},
  {CKM_RSA_PKCS_PSS, SIGN, HASH_NONE, false, true},
  {CKM_SHA1_RSA_PKCS_PSS, SIGN, HASH_SHA1, true, true},
  {CKM_SHA224_RSA_PKCS_PSS, SIGN, HASH_SHA224, true, true},
  {CKM_SHA256_RSA_PKCS_PSS, SIGN, HASH_SHA256, true, true},
  {CKM_SHA384_RSA_PKCS_PSS, SIGN, HASH_SHA384, true, true},
  {CKM_SHA512_RSA_PKCS_PSS, SIGN, HASH_SHA512, true, true},
  {CKM_SHA_1, CKF_DIGEST, HASH_SHA1, true, false},
  {CKM_SHA224, CKF_DIGEST, HASH_SHA224, true, false},
  {CKM_SHA256, CKF_DIGEST, HASH_SHA256, true, false},
  {CKM_SHA384, CKF_DIGEST, HASH_SHA384, true, false},
  {CKM_SHA512, CKF_DIGEST, HASH_SHA512, true, false},
};

static const struct {
  CK_MECHANISM_TYPE type;
  CK_ULONG mgf;
  enum hash_kind hash;
} pss_hashes[] = {
  {CKM_SHA_1, CKG_MGF1_SHA1, HASH_SHA1},       {CKM_SHA224, CKG_MGF1_SHA224, HASH_SHA224},
  {CKM_SHA256, CKG_MGF1_SHA256, HASH_SHA256},  {CKM_SHA384, CKG_MGF1_SHA384, HASH_SHA384},
  {CKM_SHA512, CKG_MGF1_SHA512, HASH_SHA512},
};

static const struct known *find(CK_MECHANISM_TYPE type)
{
  for (CK_ULONG i = 0; i < mechanism_count(); i++) {
    if (table[i].type == type) return &table[i];
  }
  return NULL;
}

CK_ULONG mechanism_count(void) { return sizeof table / sizeof table[0]; }
CK_MECHANISM_TYPE mechanism_at(CK_ULONG index) { return table[index].type; }

bool mechanism_info(CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
  const struct known *known = find(type);
  if (known == NULL) return false;
  bool has_key = known->flags != CKF_DIGEST;
  *info = (CK_MECHANISM_INFO){.ulMinKeySize = has_key ? BITS_MIN : 0,
                              .ulMaxKeySize = has_key ? BITS_MAX : 0,
                              .flags = known->flags};
  return true;
}

static CK_RV parse_pss(struct mechanism *mechanism, const CK_MECHANISM *given)
{
  const CK_RSA_PKCS_PSS_PARAMS *parameters = given->pParameter;
  if (parameters == NULL || given->ulParameterLen != sizeof *parameters) return CKR_MECHANISM_PARAM_INVALID;
  for (size_t i = 0; i < sizeof pss_hashes / sizeof pss_hashes[0]; i++) {
    if (pss_hashes[i].type != parameters->hashAlg) continue;
    /* The nodes know one hash per signature: mask generation and mechanism must agree with it. */
    bool agrees = parameters->mgf == pss_hashes[i].mgf && parameters->sLen <= SALT_MAX &&
                  (!mechanism->hashes || mechanism->hash == pss_hashes[i].hash);
    if (!agrees) return CKR_MECHANISM_PARAM_INVALID;
    mechanism->hash = pss_hashes[i].hash;
    mechanism->salt = (uint8_t)parameters->sLen;
    return CKR_OK;
  }
  return CKR_MECHANISM_PARAM_INVALID;
}

CK_RV mechanism_parse(struct mechanism *mechanism, const CK_MECHANISM *given, CK_FLAGS purpose)
{
  const struct known *known = find(given->mechanism);
  if (known == NULL || (known->flags & purpose) == 0) return CKR_MECHANISM_INVALID;
  *mechanism = (struct mechanism){.type = known->type, .hash = known->hash, .hashes = known->hashes, .salt = 0};
  if (known->pss) return parse_pss(mechanism, given);
  return given->ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}
