/* Signing: PKCS#11 v2.40 section 5.11. Init and length queries are local; one call a signature. */
#include <string.h>

#include "login.h"
#include "module.h"
#include "operation.h"

CK_RV C_SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
  return operation_start(handle, mechanism, key, CKF_SIGN);
}

/* Asks the daemon. `operation` is a copy of our own, and no lock is held. */
static CK_RV request_signature(uint64_t generation, CK_SLOT_ID slot, const char *label, unsigned timeout_ms,
                               struct operation *operation, uint8_t *signature)
{
  CK_RV result = operation_close(operation);
  if (result != CKR_OK) return result;
  uint8_t buffer[CONFIG_LABEL_MAX + MODULUS_MAX + 32];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, label);
  write_u64(&body, operation->key);
  operation_write(operation, &body);
  struct call call = {.op = OP_SIGN, .body = &body, .timeout_ms = timeout_ms};
  struct reply reply;
  result = call_as_user(generation, slot, &call, &reply);
  if (result == CKR_OK) {
    struct bytes bytes = read_bytes(&reply.body);
    if (!reader_done(&reply.body) || bytes.size != operation->modulus_size) result = rpc_malformed();
    else memcpy(signature, bytes.data, bytes.size);
  }
  reply_free(&reply);
  return result;
}

/* The common end of C_Sign and C_SignFinal; the operation is over unless only the length was told. */
static CK_RV finish(struct session *session, bool whole, const uint8_t *data, size_t size,
                    CK_BYTE_PTR signature, CK_ULONG_PTR signature_size)
{
  struct operation *active = &session->sign;
  if (active->stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (active->stage == STAGE_TAKEN || (whole && active->stage != STAGE_READY)) {
    return module_leave_with(CKR_OPERATION_ACTIVE);
  }
  if (signature_size == NULL || (data == NULL && size > 0)) {
    active->stage = STAGE_NONE;
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  bool fits = signature != NULL && *signature_size >= active->modulus_size;
  *signature_size = active->modulus_size;
  if (!fits) return module_leave_with(signature == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL);

  struct operation operation = *active;
  active->stage = STAGE_TAKEN;
  CK_SESSION_HANDLE handle = session->handle;
  CK_SLOT_ID slot = session->slot;
  uint64_t generation = module.generation;
  unsigned timeout_ms = module.config.timeout_ms;
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_leave();

  CK_RV result = operation_feed(&operation, data, size);
  if (result == CKR_OK) result = request_signature(generation, slot, label, timeout_ms, &operation, signature);

  CK_RV entered = module_enter_again(generation);
  if (entered != CKR_OK) return entered;
  session = session_find(handle);
  if (session != NULL) session->sign.stage = STAGE_NONE;
  return module_leave_with(result);
}

CK_RV C_Sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR signature, CK_ULONG_PTR signature_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(session, true, data, size, signature, signature_size);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return operation_update(session, CKF_SIGN, part, size);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG_PTR signature_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(session, false, NULL, 0, signature, signature_size);
}
