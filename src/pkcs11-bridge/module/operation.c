#include "operation.h"

#include <string.h>

#include "keys.h"
#include "module.h"

enum { PKCS1_OVERHEAD = 11 }; /* RFC 8017 section 7.2: two bytes, eight of padding, a zero */

static bool copy_number(const struct object *key, CK_ATTRIBUTE_TYPE type, uint8_t *to, size_t capacity, size_t *size)
{
  const struct attribute *found = object_find(key, type);
  if (found == NULL || found->kind != KIND_BYTES || found->size < 1 || found->size > capacity) return false;
  memcpy(to, found->value, found->size);
  *size = found->size;
  return true;
}

static CK_ATTRIBUTE_TYPE permission_for(CK_FLAGS purpose)
{
  switch (purpose) {
  case CKF_SIGN: return CKA_SIGN;
  case CKF_VERIFY: return CKA_VERIFY;
  case CKF_ENCRYPT: return CKA_ENCRYPT;
  default: return CKA_DECRYPT;
  }
}

struct operation *operation_of(struct session *session, CK_FLAGS purpose)
{
  switch (purpose) {
  case CKF_SIGN: return &session->sign;
  case CKF_VERIFY: return &session->verify;
  case CKF_ENCRYPT: return &session->encrypt;
  default: return &session->decrypt;
  }
}

/* Within module_enter(). */
static CK_RV init(struct operation *operation, const struct token *token, const CK_MECHANISM *mechanism,
                  const struct object *key, CK_FLAGS purpose)
{
  if (operation->stage != STAGE_NONE) return CKR_OPERATION_ACTIVE;
  struct mechanism parsed;
  CK_RV result = mechanism_parse(&parsed, mechanism, purpose);
  if (result != CKR_OK) return result;
  if (key == NULL) return CKR_KEY_HANDLE_INVALID;
  if (!token_shows(token, key)) return CKR_USER_NOT_LOGGED_IN;
  if (!object_is(key, permission_for(purpose))) return CKR_KEY_FUNCTION_NOT_PERMITTED;
  *operation = (struct operation){.stage = STAGE_NONE, .mechanism = parsed, .key = key->handle};
  bool has_numbers = copy_number(key, CKA_MODULUS, operation->modulus, MODULUS_MAX, &operation->modulus_size) &&
                     copy_number(key, CKA_PUBLIC_EXPONENT, operation->exponent, EXPONENT_MAX, &operation->exponent_size);
  if (!has_numbers) return CKR_KEY_TYPE_INCONSISTENT;
  if (parsed.hashes) hash_start(&operation->hash, parsed.hash);
  operation->stage = STAGE_READY;
  return CKR_OK;
}

CK_RV operation_start(CK_SESSION_HANDLE handle, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_FLAGS purpose)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (mechanism == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (token_find(&module.tokens[session->slot], key) == NULL && (key & HANDLE_LOCAL) == 0) {
    /* A handle from before our start, or of a key made elsewhere since the last search. */
    uint64_t generation = module.generation;
    CK_SLOT_ID slot = session->slot;
    module_leave();
    result = keys_refresh(generation, slot);
    if (result == CKR_OK) result = module_enter_session(handle, &session);
    if (result != CKR_OK) return result;
  }
  const struct token *token = &module.tokens[session->slot];
  return module_leave_with(init(operation_of(session, purpose), token, mechanism, token_find(token, key), purpose));
}

CK_RV operation_feed(struct operation *operation, const uint8_t *data, size_t size)
{
  if (operation->mechanism.hashes) {
    hash_update(&operation->hash, data, size);
    return CKR_OK;
  }
  if (size > sizeof operation->data - operation->data_size) return CKR_DATA_LEN_RANGE;
  if (size > 0) memcpy(operation->data + operation->data_size, data, size);
  operation->data_size += size;
  return CKR_OK;
}

CK_RV operation_update(struct session *session, CK_FLAGS purpose, const uint8_t *part, size_t size)
{
  struct operation *active = operation_of(session, purpose);
  if (active->stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (active->stage == STAGE_TAKEN) return module_leave_with(CKR_OPERATION_ACTIVE);
  if (part == NULL && size > 0) {
    active->stage = STAGE_NONE;
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  /* Long documents are hashed outside the lock. */
  struct operation operation = *active;
  CK_SESSION_HANDLE handle = session->handle;
  active->stage = STAGE_TAKEN;
  module_leave();
  CK_RV result = operation_feed(&operation, part, size);
  operation.stage = result == CKR_OK ? STAGE_UPDATED : STAGE_NONE;
  CK_RV entered = module_enter_session(handle, &session);
  if (entered != CKR_OK) return entered;
  *operation_of(session, purpose) = operation;
  return module_leave_with(result);
}

CK_RV operation_close(struct operation *operation)
{
  enum hash_kind hash = operation->mechanism.hash;
  if (operation->mechanism.hashes) {
    hash_finish(&operation->hash, operation->data);
    operation->data_size = hash_size(hash);
    return CKR_OK;
  }
  bool fits = hash != HASH_NONE ? operation->data_size == hash_size(hash)
              : operation->mechanism.type == CKM_RSA_X_509
                ? operation->data_size <= operation->modulus_size
                : operation->data_size + PKCS1_OVERHEAD <= operation->modulus_size;
  return fits ? CKR_OK : CKR_DATA_LEN_RANGE;
}

void operation_write(const struct operation *operation, struct writer *body)
{
  write_u32(body, (uint32_t)operation->mechanism.type);
  write_u8(body, (uint8_t)operation->mechanism.hash);
  write_u8(body, operation->mechanism.salt);
  write_bytes(body, operation->data, operation->data_size);
}
