/*
 * Functions that this token answers with a refusal: no mechanism here wraps, derives or makes a secret key,
 * no private key ever leaves its nodes, and tokens are made by their operator.
 */
#include "module.h"

static CK_RV session_or(CK_SESSION_HANDLE handle, CK_RV refusal)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  return result == CKR_OK ? module_leave_with(refusal) : result;
}

static CK_RV unless_null(CK_SESSION_HANDLE handle, const void *pointer, CK_RV refusal)
{
  return session_or(handle, pointer == NULL ? CKR_ARGUMENTS_BAD : refusal);
}

/* Tokens stand in cluster.toml; initialising one would be its operator's doing. */
CK_RV C_InitToken(CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG pin_size, CK_UTF8CHAR_PTR label)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  if (label == NULL || (pin == NULL && pin_size > 0)) return module_leave_with(CKR_ARGUMENTS_BAD);
  return module_leave_with(session_next(slot, NULL) != NULL ? CKR_SESSION_EXISTS : CKR_TOKEN_WRITE_PROTECTED);
}

/* A private key is never extractable; the other objects here are no secret keys. */
CK_RV C_WrapKey(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key,
                CK_BYTE_PTR wrapped, CK_ULONG_PTR size)
{
  (void)wrapped;
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (mechanism == NULL || size == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  const struct token *token = &module.tokens[session->slot];
  const struct object *with = token_find(token, wrapping), *what = token_find(token, key);
  if (what == NULL || !token_shows(token, what)) return module_leave_with(CKR_KEY_HANDLE_INVALID);
  if (with == NULL || !token_shows(token, with)) return module_leave_with(CKR_WRAPPING_KEY_HANDLE_INVALID);
  return module_leave_with(object_is(what, CKA_SENSITIVE) ? CKR_KEY_UNEXTRACTABLE : CKR_KEY_NOT_WRAPPABLE);
}

/* The operation under way, if any, goes on: only its session was asked for. */
CK_RV C_DigestKey(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key)
{
  (void)key;
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  return module_leave_with(session->digest.stage == STAGE_NONE ? CKR_OPERATION_NOT_INITIALIZED : CKR_KEY_INDIGESTIBLE);
}

/* Tokens neither come nor go. Waiting for it without an end would be right, and of no use. */
CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved)
{
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  if (slot == NULL || reserved != NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  return module_leave_with((flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED);
}

#pragma GCC diagnostic ignored "-Wunused-parameter"
CK_RV C_UnwrapKey(CK_SESSION_HANDLE h, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_BYTE *d, CK_ULONG e, CK_ATTRIBUTE *f, CK_ULONG g, CK_OBJECT_HANDLE *i) { return unless_null(h, b, CKR_MECHANISM_INVALID); }
CK_RV C_DeriveKey(CK_SESSION_HANDLE h, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_ATTRIBUTE *d, CK_ULONG e, CK_OBJECT_HANDLE *f) { return unless_null(h, b, CKR_MECHANISM_INVALID); }
CK_RV C_GenerateKey(CK_SESSION_HANDLE h, CK_MECHANISM *b, CK_ATTRIBUTE *c, CK_ULONG d, CK_OBJECT_HANDLE *e) { return unless_null(h, b, CKR_MECHANISM_INVALID); }
CK_RV C_SignRecoverInit(CK_SESSION_HANDLE h, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unless_null(h, b, CKR_MECHANISM_INVALID); }
CK_RV C_SignRecover(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_OPERATION_NOT_INITIALIZED); }
CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE h, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unless_null(h, b, CKR_MECHANISM_INVALID); }
CK_RV C_VerifyRecover(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_OPERATION_NOT_INITIALIZED); }
CK_RV C_GetOperationState(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG *c) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
CK_RV C_SetOperationState(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_OBJECT_HANDLE d, CK_OBJECT_HANDLE e) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE h, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return session_or(h, CKR_FUNCTION_NOT_SUPPORTED); }
