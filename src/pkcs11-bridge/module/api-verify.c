/* Verifying: PKCS#11 v2.40 section 5.13. The daemon does the arithmetic, with the key we send it,
   so that session objects work and no login is needed. */
#include "module.h"
#include "operation.h"
#include "rpc.h"

CK_RV C_VerifyInit(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
  return operation_start(handle, mechanism, key, CKF_VERIFY);
}

static CK_RV request_verdict(uint64_t generation, unsigned timeout_ms, struct operation *operation,
                             const uint8_t *signature)
{
  CK_RV result = operation_close(operation);
  if (result != CKR_OK) return result;
  uint8_t buffer[3 * MODULUS_MAX + EXPONENT_MAX + 32];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_bytes(&body, operation->modulus, operation->modulus_size);
  write_bytes(&body, operation->exponent, operation->exponent_size);
  operation_write(operation, &body);
  write_bytes(&body, signature, operation->modulus_size);
  struct call call = {.op = OP_VERIFY, .body = &body, .timeout_ms = timeout_ms};
  struct reply reply;
  result = rpc_call(generation, &call, &reply);
  reply_free(&reply);
  return result;
}

/* The common end of C_Verify and C_VerifyFinal: the operation is over in any case. */
static CK_RV finish(struct session *session, bool whole, const uint8_t *data, size_t size,
                    const uint8_t *signature, size_t signature_size)
{
  struct operation *active = &session->verify;
  if (active->stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (active->stage == STAGE_TAKEN || (whole && active->stage != STAGE_READY)) {
    return module_leave_with(CKR_OPERATION_ACTIVE);
  }
  struct operation operation = *active;
  active->stage = STAGE_NONE;
  if (signature == NULL || (data == NULL && size > 0)) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (signature_size != operation.modulus_size) return module_leave_with(CKR_SIGNATURE_LEN_RANGE);
  uint64_t generation = module.generation;
  unsigned timeout_ms = module.config.timeout_ms;
  module_leave();

  CK_RV result = operation_feed(&operation, data, size);
  return result == CKR_OK ? request_verdict(generation, timeout_ms, &operation, signature) : result;
}

CK_RV C_Verify(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR signature, CK_ULONG signature_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(session, true, data, size, signature, signature_size);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return operation_update(session, CKF_VERIFY, part, size);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG signature_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return finish(session, false, NULL, 0, signature, signature_size);
}
