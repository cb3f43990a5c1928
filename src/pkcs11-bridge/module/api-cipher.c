/*
 * Encrypting with public keys, in the daemon, and decrypting with the nodes: PKCS#11 v2.40 sections 5.8
 * and 5.9. RSA takes its data in one piece, so there is no Update.
 */
#include <string.h>

#include "login.h"
#include "module.h"
#include "operation.h"

enum { PKCS1_OVERHEAD = 11, BODY_MAX = CONFIG_LABEL_MAX + 2 * MODULUS_MAX + EXPONENT_MAX + OAEP_LABEL_MAX + 64 };

/* What a call to the daemon needs, taken under the lock. */
struct job {
  struct operation operation;
  CK_FLAGS purpose;
  CK_SLOT_ID slot;
  uint64_t generation;
  unsigned timeout_ms;
  char label[CONFIG_LABEL_MAX + 1];
};

/* Bytes of the longest message: what is encrypted at most, and what a decryption yields at most. */
static size_t message_max(const struct operation *operation)
{
  size_t overhead = operation->mechanism.type == CKM_RSA_X_509 ? 0
                    : operation->mechanism.type == CKM_RSA_PKCS ? PKCS1_OVERHEAD
                                                                : 2 * hash_size(operation->mechanism.hash) + 2;
  return overhead < operation->modulus_size ? operation->modulus_size - overhead : 0;
}

static void write_encryption(struct writer *body, const struct mechanism *mechanism, const uint8_t *data, size_t size)
{
  write_u32(body, (uint32_t)mechanism->type);
  write_u8(body, (uint8_t)mechanism->hash);
  write_u8(body, (uint8_t)mechanism->mask);
  write_bytes(body, mechanism->label, mechanism->label_size);
  write_bytes(body, data, size);
}

/* CKR_BUFFER_TOO_SMALL, with the size that is needed, when the answer does not fit. */
static CK_RV take_answer(struct reader *body, uint8_t *out, CK_ULONG *out_size)
{
  struct bytes answer = read_bytes(body);
  if (!reader_done(body) || answer.size > MODULUS_MAX) return rpc_malformed();
  bool fits = answer.size <= *out_size;
  *out_size = answer.size;
  if (fits && answer.size > 0) memcpy(out, answer.data, answer.size);
  return fits ? CKR_OK : CKR_BUFFER_TOO_SMALL;
}

static CK_RV request(const struct job *job, const uint8_t *data, size_t size, uint8_t *out, CK_ULONG *out_size)
{
  const struct operation *operation = &job->operation;
  uint8_t buffer[BODY_MAX];
  struct writer body = writer_over(buffer, sizeof buffer);
  bool decrypts = job->purpose == CKF_DECRYPT;
  if (decrypts) {
    write_text(&body, job->label);
    write_u64(&body, operation->key);
  } else {
    write_bytes(&body, operation->modulus, operation->modulus_size);
    write_bytes(&body, operation->exponent, operation->exponent_size);
  }
  write_encryption(&body, &operation->mechanism, data, size);
  struct call call = {.op = decrypts ? OP_DECRYPT : OP_ENCRYPT, .body = &body, .timeout_ms = job->timeout_ms};
  struct reply reply = {0};
  CK_RV result = body.failed ? CKR_DATA_LEN_RANGE
                 : decrypts  ? call_as_user(job->generation, job->slot, &call, &reply)
                             : rpc_call(job->generation, &call, &reply);
  if (result == CKR_OK) result = take_answer(&reply.body, out, out_size);
  reply_free(&reply); /* wiped: it may hold a plaintext */
  explicit_bzero(buffer, sizeof buffer);
  return result;
}

static CK_RV check_input(const struct operation *operation, CK_FLAGS purpose, size_t size)
{
  if (purpose == CKF_DECRYPT) return size == operation->modulus_size ? CKR_OK : CKR_ENCRYPTED_DATA_LEN_RANGE;
  return size <= message_max(operation) ? CKR_OK : CKR_DATA_LEN_RANGE;
}

/*
 * How long a plaintext is shows only when it is there: an application whose buffer turns out too small has it
 * decrypted again by its next call, so that nothing of it is kept here.
 */
static CK_RV convert(CK_SESSION_HANDLE handle, CK_FLAGS purpose, const uint8_t *data, size_t size, uint8_t *out,
                     CK_ULONG *out_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  struct operation *active = operation_of(session, purpose);
  if (active->stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (active->stage == STAGE_TAKEN) return module_leave_with(CKR_OPERATION_ACTIVE);
  bool bad = out_size == NULL || (data == NULL && size > 0);
  result = bad ? CKR_ARGUMENTS_BAD : check_input(active, purpose, size);
  if (result != CKR_OK) {
    active->stage = STAGE_NONE;
    return module_leave_with(result);
  }
  CK_ULONG most = purpose == CKF_DECRYPT ? message_max(active) : active->modulus_size;
  if (out == NULL || (purpose == CKF_ENCRYPT && *out_size < most)) {
    *out_size = most;
    return module_leave_with(out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL);
  }
  struct job job = {.operation = *active, .purpose = purpose, .slot = session->slot,
                    .generation = module.generation, .timeout_ms = module.config.timeout_ms};
  memcpy(job.label, module.config.tokens[job.slot], sizeof job.label);
  active->stage = STAGE_TAKEN;
  module_leave();

  result = request(&job, data, size, out, out_size);

  CK_RV entered = module_enter_again(job.generation);
  if (entered != CKR_OK) return entered;
  session = session_find(handle);
  if (session != NULL) {
    operation_of(session, purpose)->stage = result == CKR_BUFFER_TOO_SMALL ? STAGE_READY : STAGE_NONE;
  }
  return module_leave_with(result);
}

CK_RV C_EncryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
  return operation_start(handle, mechanism, key, CKF_ENCRYPT);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR out, CK_ULONG_PTR out_size)
{
  return convert(handle, CKF_ENCRYPT, data, size, out, out_size);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
  return operation_start(handle, mechanism, key, CKF_DECRYPT);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR out, CK_ULONG_PTR out_size)
{
  return convert(handle, CKF_DECRYPT, data, size, out, out_size);
}

/* There is no second piece (v2.40 mechanisms, table 1): the operation ends here. */
static CK_RV end_in_pieces(CK_SESSION_HANDLE handle, CK_FLAGS purpose)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  struct operation *active = operation_of(session, purpose);
  if (active->stage == STAGE_NONE) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  if (active->stage == STAGE_TAKEN) return module_leave_with(CKR_OPERATION_ACTIVE);
  active->stage = STAGE_NONE;
  return module_leave_with(CKR_FUNCTION_NOT_SUPPORTED);
}

#pragma GCC diagnostic ignored "-Wunused-parameter"
CK_RV C_EncryptUpdate(CK_SESSION_HANDLE h, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d) { return end_in_pieces(h, CKF_ENCRYPT); }
CK_RV C_EncryptFinal(CK_SESSION_HANDLE h, CK_BYTE *a, CK_ULONG *b) { return end_in_pieces(h, CKF_ENCRYPT); }
CK_RV C_DecryptUpdate(CK_SESSION_HANDLE h, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d) { return end_in_pieces(h, CKF_DECRYPT); }
CK_RV C_DecryptFinal(CK_SESSION_HANDLE h, CK_BYTE *a, CK_ULONG *b) { return end_in_pieces(h, CKF_DECRYPT); }
