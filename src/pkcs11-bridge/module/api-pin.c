/* C_SetPIN and C_InitPIN: PKCS#11 v2.40 section 5.5. The PIN is this host's client identity's, for all of its tokens. */
#include <string.h>

#include "log.h"
#include "module.h"
#include "rpc.h"
#include "secret.h"

enum { PIN_MAX = 255 };

/* The old tickets are stale: this application's own is replaced, others log in anew. */
static CK_RV take_ticket(uint64_t generation, CK_SLOT_ID slot, struct reader *body)
{
  struct bytes ticket = read_bytes(body);
  if (!reader_done(body) || ticket.size != TICKET_SIZE) return rpc_malformed();
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  for (CK_SLOT_ID i = 0; i < module.config.token_count; i++) {
    if (module.tokens[i].logged_in) memcpy(secret_ticket(i), ticket.data, TICKET_SIZE);
  }
  log_line("the PIN was changed through token %s", module.config.tokens[slot]);
  return module_leave_with(CKR_OK);
}

CK_RV C_SetPIN(CK_SESSION_HANDLE handle, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_size, CK_UTF8CHAR_PTR new_pin,
               CK_ULONG new_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (old_pin == NULL || new_pin == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (!session->writable) return module_leave_with(CKR_SESSION_READ_ONLY);
  /* A recovery code is made with the identity: nobody chooses one. */
  if (module.tokens[session->slot].code_size > 0) return module_leave_with(CKR_TOKEN_WRITE_PROTECTED);
  if (new_size < 1 || new_size > PIN_MAX) return module_leave_with(CKR_PIN_LEN_RANGE);
  if (old_size < 1 || old_size > PIN_MAX) return module_leave_with(CKR_PIN_INCORRECT);
  CK_SLOT_ID slot = session->slot;
  uint64_t generation = module.generation;
  uint8_t buffer[CONFIG_LABEL_MAX + 2 * PIN_MAX + 8];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, module.config.tokens[slot]);
  write_bytes(&body, old_pin, old_size);
  write_bytes(&body, new_pin, new_size);
  /* Sent once: the same again would be a wrong PIN, and counted. */
  struct call call = {.op = OP_SET_PIN, .body = &body, .timeout_ms = module.config.timeout_ms, .once = true};
  module_leave();

  struct reply reply;
  result = rpc_call(generation, &call, &reply);
  explicit_bzero(buffer, sizeof buffer);
  module_forget_pin_flags(generation);
  if (result == CKR_OK) result = take_ticket(generation, slot, &reply.body);
  reply_free(&reply);
  return result;
}

/* The security officer's, with the recovery code of the login: also when the PIN is forgotten or locked. */
CK_RV C_InitPIN(CK_SESSION_HANDLE handle, CK_UTF8CHAR_PTR pin, CK_ULONG pin_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = session->slot;
  if (module.tokens[slot].code_size == 0) return module_leave_with(CKR_USER_NOT_LOGGED_IN);
  if (pin == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (pin_size < 1 || pin_size > PIN_MAX) return module_leave_with(CKR_PIN_LEN_RANGE);
  uint64_t generation = module.generation;
  uint8_t buffer[CONFIG_LABEL_MAX + CODE_MAX + PIN_MAX + 8];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, module.config.tokens[slot]);
  write_bytes(&body, secret_code(slot), module.tokens[slot].code_size);
  write_bytes(&body, pin, pin_size);
  struct call call = {.op = OP_RESET_PIN, .body = &body, .timeout_ms = module.config.timeout_ms};
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_leave();

  struct reply reply;
  result = rpc_call(generation, &call, &reply);
  explicit_bzero(buffer, sizeof buffer);
  reply_free(&reply);
  module_forget_pin_flags(generation);
  if (result == CKR_OK) log_line("the PIN was set with the recovery code through token %s", label);
  return result;
}
