/*
 * Functions that this token does not have: CKR_FUNCTION_NOT_SUPPORTED, so that the list has no
 * holes (PKCS#11 v2.40 section 5.1). No parameter is read.
 */
#include "module.h"

/* Before C_Initialize even these say so. */
static CK_RV unsupported(void)
{
  CK_RV result = module_enter();
  return result == CKR_OK ? module_leave_with(CKR_FUNCTION_NOT_SUPPORTED) : result;
}

#pragma GCC diagnostic ignored "-Wunused-parameter"
CK_RV C_WaitForSlotEvent(CK_FLAGS a, CK_SLOT_ID *b, void *c) { return unsupported(); }
CK_RV C_InitToken(CK_SLOT_ID a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d) { return unsupported(); }
CK_RV C_InitPIN(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c) { return unsupported(); }
CK_RV C_SetPIN(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG e) { return unsupported(); }
CK_RV C_GetOperationState(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG *c) { return unsupported(); }
CK_RV C_SetOperationState(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_OBJECT_HANDLE d, CK_OBJECT_HANDLE e) { return unsupported(); }
CK_RV C_EncryptInit(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unsupported(); }
CK_RV C_Encrypt(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_EncryptUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_EncryptFinal(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG *c) { return unsupported(); }
CK_RV C_DecryptInit(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unsupported(); }
CK_RV C_Decrypt(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_DecryptUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_DecryptFinal(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG *c) { return unsupported(); }
CK_RV C_DigestKey(CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b) { return unsupported(); }
CK_RV C_SignRecoverInit(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unsupported(); }
CK_RV C_SignRecover(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c) { return unsupported(); }
CK_RV C_VerifyRecover(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d, CK_ULONG *e) { return unsupported(); }
CK_RV C_GenerateKey(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_ATTRIBUTE *c, CK_ULONG d, CK_OBJECT_HANDLE *e) { return unsupported(); }
CK_RV C_WrapKey(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d, CK_BYTE *e, CK_ULONG *f) { return unsupported(); }
CK_RV C_UnwrapKey(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_BYTE *d, CK_ULONG e, CK_ATTRIBUTE *f, CK_ULONG g, CK_OBJECT_HANDLE *h) { return unsupported(); }
CK_RV C_DeriveKey(CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_ATTRIBUTE *d, CK_ULONG e, CK_OBJECT_HANDLE *f) { return unsupported(); }
