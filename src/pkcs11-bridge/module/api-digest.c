/* Message digesting: PKCS#11 v2.40 section 5.10. Local, and outside the lock while it hashes. */
#include "module.h"

CK_RV C_DigestInit(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (mechanism == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (session->digest.stage != STAGE_NONE) return module_leave_with(CKR_OPERATION_ACTIVE);
  struct mechanism parsed;
  result = mechanism_parse(&parsed, mechanism, CKF_DIGEST);
  if (result != CKR_OK) return module_leave_with(result);
  hash_start(&session->digest.hash, parsed.hash);
  session->digest.stage = STAGE_READY;
  return module_leave_with(CKR_OK);
}

/* Hashes `data` without the lock; the operation ends up in `next` stage if its session lives. */
static CK_RV absorb(CK_SESSION_HANDLE handle, struct session *session, const uint8_t *data, size_t size,
                    uint8_t *digest)
{
  struct hash hash = session->digest.hash;
  session->digest.stage = STAGE_TAKEN;
  module_leave();
  hash_update(&hash, data, size);
  if (digest != NULL) hash_finish(&hash, digest);
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  session->digest.hash = hash;
  session->digest.stage = digest != NULL ? STAGE_NONE : STAGE_UPDATED;
  return module_leave_with(CKR_OK);
}

/* The common end of C_Digest and C_DigestFinal. */
static CK_RV finish(CK_SESSION_HANDLE handle, struct session *session, enum stage wanted, const uint8_t *data,
                    size_t size, CK_BYTE_PTR digest, CK_ULONG_PTR digest_size)
{
  enum stage stage = session->digest.stage;
  if (stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (stage == STAGE_TAKEN || (wanted == STAGE_READY && stage != wanted)) {
    return module_leave_with(CKR_OPERATION_ACTIVE);
  }
  if (digest_size == NULL || (data == NULL && size > 0)) {
    session->digest.stage = STAGE_NONE;
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  size_t need = hash_size(session->digest.hash.kind);
  bool fits = digest != NULL && *digest_size >= need;
  *digest_size = need;
  if (!fits) return module_leave_with(digest == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL);
  return absorb(handle, session, data, size, digest);
}

CK_RV C_Digest(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR digest, CK_ULONG_PTR digest_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(handle, session, STAGE_READY, data, size, digest, digest_size);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (session->digest.stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (session->digest.stage == STAGE_TAKEN) return module_leave_with(CKR_OPERATION_ACTIVE);
  if (part == NULL && size > 0) {
    session->digest.stage = STAGE_NONE;
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  return absorb(handle, session, part, size, NULL);
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE handle, CK_BYTE_PTR digest, CK_ULONG_PTR digest_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(handle, session, STAGE_UPDATED, NULL, 0, digest, digest_size);
}
