/* The mechanisms of this token, and what their parameters mean. */
#ifndef THSM_MECHANISM_H
#define THSM_MECHANISM_H

#include <stdbool.h>

#include "hash.h"
#include "pkcs11.h"

enum { OAEP_LABEL_MAX = 256 };

/* A mechanism with its parameters, checked. */
struct mechanism {
  CK_MECHANISM_TYPE type;
  enum hash_kind hash;   /* of the digest that is signed; HASH_NONE where there is none */
  bool hashes;           /* whether the module computes that digest from the document */
  uint8_t salt;          /* PSS only, bytes */
  enum hash_kind mask;   /* OAEP only: the mask's hash; `hash` is the label's */
  uint16_t label_size;
  uint8_t label[OAEP_LABEL_MAX];
};

CK_ULONG mechanism_count(void);
/* `index` below mechanism_count(). */
CK_MECHANISM_TYPE mechanism_at(CK_ULONG index);
/* False for a mechanism that this token does not have. */
bool mechanism_info(CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info);

/*
 * Checks mechanism and parameter for a purpose: CKF_SIGN, CKF_VERIFY, CKF_ENCRYPT, CKF_DECRYPT,
 * CKF_DIGEST or CKF_GENERATE_KEY_PAIR. CKR_MECHANISM_INVALID or CKR_MECHANISM_PARAM_INVALID.
 */
CK_RV mechanism_parse(struct mechanism *mechanism, const CK_MECHANISM *given, CK_FLAGS purpose);

#endif
