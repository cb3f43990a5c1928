#include "login.h"

#include <poll.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "module.h"
#include "pool.h"
#include "secret.h"

enum { LOGOUT_MS = 1000, PIN_MAX = 255 };
/* Between two resumptions: 0, 20, 40, … of a daemon that does not live long, or does not know what it says. */
enum { RESUME_STEP_MS = 20, RESUME_DELAY_MAX_MS = 500 };

static CK_RV end_stale_login(uint64_t generation, CK_SLOT_ID slot)
{
  log_line("the login is no longer valid (the PIN was changed): log in again");
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  module_forget_login(slot);
  return module_leave_with(CKR_USER_NOT_LOGGED_IN);
}

/* A C_Logout in another thread may have been overtaken by our RESUME: it must win. */
static CK_RV check_still_logged_in(uint64_t generation, CK_SLOT_ID slot)
{
  char label[CONFIG_LABEL_MAX + 1];
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  bool logged_in = module.tokens[slot].logged_in;
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_leave();
  if (logged_in) return CKR_OK;
  tell_logout(generation, label);
  return CKR_USER_NOT_LOGGED_IN;
}

static CK_RV resume(uint64_t generation, CK_SLOT_ID slot, unsigned timeout_ms)
{
  uint8_t buffer[4 + CONFIG_LABEL_MAX + TICKET_SIZE];
  struct writer body = writer_over(buffer, sizeof buffer);
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  bool logged_in = module.tokens[slot].logged_in;
  write_text(&body, module.config.tokens[slot]);
  write_bytes(&body, secret_ticket(slot), TICKET_SIZE);
  module_leave();

  struct call call = {.op = OP_RESUME, .body = &body, .timeout_ms = timeout_ms};
  struct reply reply = {0};
  result = logged_in ? rpc_call(generation, &call, &reply) : CKR_USER_NOT_LOGGED_IN;
  reply_free(&reply);
  explicit_bzero(buffer, sizeof buffer);
  if (result == CKR_PIN_INCORRECT) return end_stale_login(generation, slot);
  return result == CKR_OK ? check_still_logged_in(generation, slot) : result;
}

CK_RV call_as_user(uint64_t generation, CK_SLOT_ID slot, struct call *call, struct reply *reply)
{
  int64_t deadline = clock_now() + call->timeout_ms;
  bool resent = false;
  for (int delay = 0;; delay += delay < RESUME_DELAY_MAX_MS ? RESUME_STEP_MS : 0) {
    CK_RV result = rpc_call(generation, call, reply);
    call->resent = resent = resent || call->resent;
    if (result != CKR_USER_NOT_LOGGED_IN) return result;
    reply_free(reply);
    int64_t left = deadline - clock_now();
    if (left <= delay) return CKR_DEVICE_ERROR;
    if (delay > 0) (void)poll(NULL, 0, delay);
    left -= delay;
    call->timeout_ms = (unsigned)left;
    result = resume(generation, slot, call->timeout_ms);
    if (result != CKR_OK) return result;
  }
}

void tell_logout(uint64_t generation, const char *label)
{
  uint8_t buffer[2 + CONFIG_LABEL_MAX];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, label);
  struct call call = {.op = OP_LOGOUT, .body = &body, .timeout_ms = LOGOUT_MS, .once = true};
  struct reply reply;
  CK_RV result = rpc_call(generation, &call, &reply);
  reply_free(&reply);
  /* A daemon that could not be told forgets the login when the application's sockets are gone. */
  if (result != CKR_OK) pool_close_idle();
}

/* Whether the state of the slot lets this user log in. Within module_enter(). */
static CK_RV check_user(CK_SLOT_ID slot, CK_USER_TYPE user)
{
  bool is_user = module.tokens[slot].logged_in, is_officer = module.tokens[slot].code_size > 0;
  if (user == CKU_CONTEXT_SPECIFIC) return CKR_OPERATION_NOT_INITIALIZED;
  if (user != CKU_USER && user != CKU_SO) return CKR_USER_TYPE_INVALID;
  if (user == CKU_SO ? is_officer : is_user) return CKR_USER_ALREADY_LOGGED_IN;
  if (is_user || is_officer) return CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
  CK_ULONG open, writable;
  session_count(slot, &open, &writable);
  return user == CKU_SO && writable < open ? CKR_SESSION_READ_ONLY_EXISTS : CKR_OK;
}

/* Keeps the ticket, unless another thread has closed the session or logged somebody in meanwhile. */
static CK_RV accept_login(uint64_t generation, CK_SESSION_HANDLE handle, CK_SLOT_ID slot, struct reader *body)
{
  struct bytes ticket = read_bytes(body);
  if (!reader_done(body) || ticket.size != TICKET_SIZE) return rpc_malformed();
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  result = check_user(slot, CKU_USER);
  if (result == CKR_USER_ALREADY_LOGGED_IN) return module_leave_with(result);
  if (session_find(handle) == NULL) result = CKR_SESSION_CLOSED;
  if (result != CKR_OK) {
    char label[CONFIG_LABEL_MAX + 1];
    memcpy(label, module.config.tokens[slot], sizeof label);
    module_leave();
    tell_logout(generation, label);
    return result;
  }
  memcpy(secret_ticket(slot), ticket.data, TICKET_SIZE);
  module.tokens[slot].logged_in = true;
  return module_leave_with(CKR_OK);
}

/* The security officer's, who is whoever has the recovery code: it is kept for C_InitPIN. */
static CK_RV accept_officer(uint64_t generation, CK_SESSION_HANDLE handle, const uint8_t *code, size_t size)
{
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  const struct session *session = session_find(handle);
  if (session == NULL) return module_leave_with(CKR_SESSION_CLOSED);
  result = check_user(session->slot, CKU_SO);
  if (result != CKR_OK) return module_leave_with(result);
  memcpy(secret_code(session->slot), code, size);
  module.tokens[session->slot].code_size = size;
  return module_leave_with(CKR_OK);
}

/* C_Login, section 5.6. */
CK_RV C_Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG pin_size)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = session->slot;
  result = check_user(slot, user);
  if (result != CKR_OK) return module_leave_with(result);
  if (pin == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (pin_size < 1 || pin_size > (user == CKU_SO ? CODE_MAX : PIN_MAX)) return module_leave_with(CKR_PIN_LEN_RANGE);

  uint64_t generation = module.generation;
  uint8_t buffer[4 + CONFIG_LABEL_MAX + PIN_MAX];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, module.config.tokens[slot]);
  write_bytes(&body, pin, pin_size);
  enum op op = user == CKU_SO ? OP_CHECK_CODE : OP_LOGIN;
  struct call call = {.op = op, .body = &body, .timeout_ms = module.config.timeout_ms};
  module_leave();

  struct reply reply;
  result = rpc_call(generation, &call, &reply);
  explicit_bzero(buffer, sizeof buffer);
  module_forget_pin_flags(generation);
  if (result == CKR_OK) {
    result = user == CKU_SO ? accept_officer(generation, handle, pin, pin_size)
                            : accept_login(generation, handle, slot, &reply.body);
  }
  reply_free(&reply);
  return result;
}

/* C_Logout, section 5.6. Session objects are public, so they stay. */
CK_RV C_Logout(CK_SESSION_HANDLE handle)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = session->slot;
  bool is_user = module.tokens[slot].logged_in;
  if (!is_user && module.tokens[slot].code_size == 0) return module_leave_with(CKR_USER_NOT_LOGGED_IN);
  uint64_t generation = module.generation;
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_forget_login(slot);
  module_leave();
  /* Of the officer no daemon knows. */
  if (is_user) tell_logout(generation, label);
  return CKR_OK;
}
