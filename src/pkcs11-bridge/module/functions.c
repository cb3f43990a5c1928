/* What the shared object exports: the function list, in the v2.40 and the v3.0 way to get it. */
#include <stdbool.h>
#include <string.h>

#include "pkcs11.h"

#define EXPORT __attribute__((visibility("default")))

/* PKCS#11 v3.0 section 5.1.4; Debian's header is older. */
typedef struct {
  CK_UTF8CHAR *name;
  void *functions;
  CK_FLAGS flags;
} interface;

CK_RV C_GetInterfaceList(interface *list, CK_ULONG *count);
CK_RV C_GetInterface(CK_UTF8CHAR *name, CK_VERSION *version, interface **found, CK_FLAGS flags);

static CK_FUNCTION_LIST functions = {
  .version = {2, 40},
  .C_Initialize = C_Initialize,
  .C_Finalize = C_Finalize,
  .C_GetInfo = C_GetInfo,
  .C_GetFunctionList = C_GetFunctionList,
  .C_GetSlotList = C_GetSlotList,
  .C_GetSlotInfo = C_GetSlotInfo,
  .C_GetTokenInfo = C_GetTokenInfo,
  .C_GetMechanismList = C_GetMechanismList,
  .C_GetMechanismInfo = C_GetMechanismInfo,
  .C_InitToken = C_InitToken,
  .C_InitPIN = C_InitPIN,
  .C_SetPIN = C_SetPIN,
  .C_OpenSession = C_OpenSession,
  .C_CloseSession = C_CloseSession,
  .C_CloseAllSessions = C_CloseAllSessions,
  .C_GetSessionInfo = C_GetSessionInfo,
  .C_GetOperationState = C_GetOperationState,
  .C_SetOperationState = C_SetOperationState,
  .C_Login = C_Login,
  .C_Logout = C_Logout,
  .C_CreateObject = C_CreateObject,
  .C_CopyObject = C_CopyObject,
  .C_DestroyObject = C_DestroyObject,
  .C_GetObjectSize = C_GetObjectSize,
  .C_GetAttributeValue = C_GetAttributeValue,
  .C_SetAttributeValue = C_SetAttributeValue,
  .C_FindObjectsInit = C_FindObjectsInit,
  .C_FindObjects = C_FindObjects,
  .C_FindObjectsFinal = C_FindObjectsFinal,
  .C_EncryptInit = C_EncryptInit,
  .C_Encrypt = C_Encrypt,
  .C_EncryptUpdate = C_EncryptUpdate,
  .C_EncryptFinal = C_EncryptFinal,
  .C_DecryptInit = C_DecryptInit,
  .C_Decrypt = C_Decrypt,
  .C_DecryptUpdate = C_DecryptUpdate,
  .C_DecryptFinal = C_DecryptFinal,
  .C_DigestInit = C_DigestInit,
  .C_Digest = C_Digest,
  .C_DigestUpdate = C_DigestUpdate,
  .C_DigestKey = C_DigestKey,
  .C_DigestFinal = C_DigestFinal,
  .C_SignInit = C_SignInit,
  .C_Sign = C_Sign,
  .C_SignUpdate = C_SignUpdate,
  .C_SignFinal = C_SignFinal,
  .C_SignRecoverInit = C_SignRecoverInit,
  .C_SignRecover = C_SignRecover,
  .C_VerifyInit = C_VerifyInit,
  .C_Verify = C_Verify,
  .C_VerifyUpdate = C_VerifyUpdate,
  .C_VerifyFinal = C_VerifyFinal,
  .C_VerifyRecoverInit = C_VerifyRecoverInit,
  .C_VerifyRecover = C_VerifyRecover,
  .C_DigestEncryptUpdate = C_DigestEncryptUpdate,
  .C_DecryptDigestUpdate = C_DecryptDigestUpdate,
  .C_SignEncryptUpdate = C_SignEncryptUpdate,
  .C_DecryptVerifyUpdate = C_DecryptVerifyUpdate,
  .C_GenerateKey = C_GenerateKey,
  .C_GenerateKeyPair = C_GenerateKeyPair,
  .C_WrapKey = C_WrapKey,
  .C_UnwrapKey = C_UnwrapKey,
  .C_DeriveKey = C_DeriveKey,
  .C_SeedRandom = C_SeedRandom,
  .C_GenerateRandom = C_GenerateRandom,
  .C_GetFunctionStatus = C_GetFunctionStatus,
  .C_CancelFunction = C_CancelFunction,
  .C_WaitForSlotEvent = C_WaitForSlotEvent,
};

static CK_UTF8CHAR name_of_interface[] = "PKCS 11";
static interface only = {name_of_interface, &functions, 0};

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
  if (list == NULL) return CKR_ARGUMENTS_BAD;
  *list = &functions;
  return CKR_OK;
}

EXPORT CK_RV C_GetInterfaceList(interface *list, CK_ULONG *count)
{
  if (count == NULL) return CKR_ARGUMENTS_BAD;
  bool fits = list == NULL || *count >= 1;
  *count = 1;
  if (!fits) return CKR_BUFFER_TOO_SMALL;
  if (list != NULL) *list = only;
  return CKR_OK;
}

/* No flag (such as being safe over fork by handles) is claimed, so asking for one finds nothing. */
EXPORT CK_RV C_GetInterface(CK_UTF8CHAR *name, CK_VERSION *version, interface **found, CK_FLAGS flags)
{
  if (found == NULL) return CKR_ARGUMENTS_BAD;
  bool same_name = name == NULL || strcmp((const char *)name, (const char *)name_of_interface) == 0;
  bool same_version = version == NULL || (version->major == functions.version.major &&
                                          version->minor == functions.version.minor);
  if (!same_name || !same_version || flags != 0) return CKR_FUNCTION_FAILED;
  *found = &only;
  return CKR_OK;
}
