#include "mechanism.h"

#include <string.h>

enum { SALT_MAX = 64, BITS_MIN = 1024, BITS_MAX = 4096 };

struct known {
  CK_MECHANISM_TYPE type;
  CK_FLAGS flags;
  enum hash_kind hash;
  bool hashes;
  enum { PLAIN, PSS, OAEP } parameters;
};

/* CKF_HW: done by the token, not by this library. pkcs11-tool --test asks for it. */
#define SIGN (CKF_HW | CKF_SIGN | CKF_VERIFY)
#define CRYPT (CKF_HW | CKF_ENCRYPT | CKF_DECRYPT)
static const struct known table[] = {
  {CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_HW | CKF_GENERATE_KEY_PAIR, HASH_NONE, false, PLAIN},
  {CKM_RSA_PKCS, SIGN | CRYPT, HASH_NONE, false, PLAIN},
  {CKM_RSA_X_509, SIGN | CRYPT, HASH_NONE, false, PLAIN},
  {CKM_RSA_PKCS_OAEP, CRYPT, HASH_NONE, false, OAEP},
  {CKM_SHA1_RSA_PKCS, SIGN, HASH_SHA1, true, PLAIN},
  {CKM_SHA224_RSA_PKCS, SIGN, HASH_SHA224, true, PLAIN},
  {CKM_SHA256_RSA_PKCS, SIGN, HASH_SHA256, true, PLAIN},
  {CKM_SHA384_RSA_PKCS, SIGN, HASH_SHA384, true, PLAIN},
  {CKM_SHA512_RSA_PKCS, SIGN, HASH_SHA512, true, PLAIN},
  {CKM_RSA_PKCS_PSS, SIGN, HASH_NONE, false, PSS},
  {CKM_SHA1_RSA_PKCS_PSS, SIGN, HASH_SHA1, true, PSS},
  {CKM_SHA224_RSA_PKCS_PSS, SIGN, HASH_SHA224, true, PSS},
  {CKM_SHA256_RSA_PKCS_PSS, SIGN, HASH_SHA256, true, PSS},
  {CKM_SHA384_RSA_PKCS_PSS, SIGN, HASH_SHA384, true, PSS},
  {CKM_SHA512_RSA_PKCS_PSS, SIGN, HASH_SHA512, true, PSS},
  {CKM_SHA_1, CKF_DIGEST, HASH_SHA1, true, PLAIN},
  {CKM_SHA224, CKF_DIGEST, HASH_SHA224, true, PLAIN},
  {CKM_SHA256, CKF_DIGEST, HASH_SHA256, true, PLAIN},
  {CKM_SHA384, CKF_DIGEST, HASH_SHA384, true, PLAIN},
  {CKM_SHA512, CKF_DIGEST, HASH_SHA512, true, PLAIN},
};

static const struct {
  CK_MECHANISM_TYPE type;
  CK_ULONG mgf;
  enum hash_kind hash;
} hash_table[] = {
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

/* HASH_NONE for what is none of ours. */
static enum hash_kind hash_of(CK_MECHANISM_TYPE type)
{
  for (size_t i = 0; i < sizeof hash_table / sizeof hash_table[0]; i++) {
    if (hash_table[i].type == type) return hash_table[i].hash;
  }
  return HASH_NONE;
}

static enum hash_kind hash_of_mask(CK_ULONG mgf)
{
  for (size_t i = 0; i < sizeof hash_table / sizeof hash_table[0]; i++) {
    if (hash_table[i].mgf == mgf) return hash_table[i].hash;
  }
  return HASH_NONE;
}

static CK_RV parse_pss(struct mechanism *mechanism, const CK_MECHANISM *given)
{
  CK_RSA_PKCS_PSS_PARAMS parameters;
  if (given->pParameter == NULL || given->ulParameterLen != sizeof parameters) return CKR_MECHANISM_PARAM_INVALID;
  memcpy(&parameters, given->pParameter, sizeof parameters); /* callers need not align it */
  enum hash_kind hash = hash_of(parameters.hashAlg);
  /* The nodes know one hash per signature: mask generation and mechanism must agree with it. */
  bool agrees = hash != HASH_NONE && hash_of_mask(parameters.mgf) == hash && parameters.sLen <= SALT_MAX &&
                (!mechanism->hashes || mechanism->hash == hash);
  if (!agrees) return CKR_MECHANISM_PARAM_INVALID;
  mechanism->hash = hash;
  mechanism->salt = (uint8_t)parameters.sLen;
  return CKR_OK;
}

static CK_RV parse_oaep(struct mechanism *mechanism, const CK_MECHANISM *given)
{
  CK_RSA_PKCS_OAEP_PARAMS parameters;
  if (given->pParameter == NULL || given->ulParameterLen != sizeof parameters) return CKR_MECHANISM_PARAM_INVALID;
  memcpy(&parameters, given->pParameter, sizeof parameters);
  mechanism->hash = hash_of(parameters.hashAlg);
  mechanism->mask = hash_of_mask(parameters.mgf);
  if (mechanism->hash == HASH_NONE || mechanism->mask == HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
  CK_ULONG size = parameters.ulSourceDataLen;
  /* Some callers leave the source at 0 when there is no label. */
  if (size == 0) return parameters.source <= CKZ_DATA_SPECIFIED ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
  if (parameters.source != CKZ_DATA_SPECIFIED || parameters.pSourceData == NULL || size > OAEP_LABEL_MAX) {
    return CKR_MECHANISM_PARAM_INVALID;
  }
  memcpy(mechanism->label, parameters.pSourceData, size);
  mechanism->label_size = (uint16_t)size;
  return CKR_OK;
}

CK_RV mechanism_parse(struct mechanism *mechanism, const CK_MECHANISM *given, CK_FLAGS purpose)
{
  const struct known *known = find(given->mechanism);
  if (known == NULL || (known->flags & purpose) == 0) return CKR_MECHANISM_INVALID;
  *mechanism = (struct mechanism){.type = known->type, .hash = known->hash, .hashes = known->hashes, .salt = 0};
  if (known->parameters == PSS) return parse_pss(mechanism, given);
  if (known->parameters == OAEP) return parse_oaep(mechanism, given);
  return given->ulParameterLen == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}
