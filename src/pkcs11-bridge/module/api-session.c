/* Session management: PKCS#11 v2.40 section 5.6. Everything is local, so nothing waits. */
#include <string.h>

#include "login.h"
#include "module.h"

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                    CK_SESSION_HANDLE_PTR handle)
{
  (void)application;
  (void)notify;
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  if (handle == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  if ((flags & CKF_SERIAL_SESSION) == 0) return module_leave_with(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
  bool is_officer = module.tokens[slot].code_size > 0;
  if (is_officer && (flags & CKF_RW_SESSION) == 0) return module_leave_with(CKR_SESSION_READ_WRITE_SO_EXISTS);
  struct session *session = session_open(slot, (flags & CKF_RW_SESSION) != 0, &result);
  if (session != NULL) *handle = session->handle;
  return module_leave_with(result);
}

/* Frees what belongs to the session. The last session of a slot takes the login with it. */
static bool close_one(struct session *session)
{
  CK_SLOT_ID slot = session->slot;
  token_drop_owned(&module.tokens[slot], session->handle);
  session_close(session);
  if (session_next(slot, NULL) != NULL) return false;
  bool ends_login = module.tokens[slot].logged_in;
  module_forget_login(slot);
  return ends_login;
}

/* Leaves, and tells the daemon when a login has ended. */
static CK_RV leave_after_close(CK_SLOT_ID slot, bool ended_login)
{
  uint64_t generation = module.generation;
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_leave();
  if (ended_login) tell_logout(generation, label);
  return CKR_OK;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE handle)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = session->slot;
  return leave_after_close(slot, close_one(session));
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  bool ended_login = false;
  for (struct session *each; (each = session_next(slot, NULL)) != NULL;) ended_login = close_one(each);
  return leave_after_close(slot, ended_login);
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO_PTR info)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (info == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  bool user = module.tokens[session->slot].logged_in;
  *info = (CK_SESSION_INFO){.slotID = session->slot, .flags = CKF_SERIAL_SESSION};
  if (session->writable) info->flags |= CKF_RW_SESSION;
  if (module.tokens[session->slot].code_size > 0) info->state = CKS_RW_SO_FUNCTIONS;
  else if (session->writable) info->state = user ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
  else info->state = user ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION;
  return module_leave_with(CKR_OK);
}
