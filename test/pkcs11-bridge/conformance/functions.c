/* The table: how each function is called, and what it says in a new session (v2.40 sections 5.4 to 5.17). */
#include "suite.h"

static _Thread_local CK_BYTE bytes[1024], more[1024];
static _Thread_local CK_ULONG size, count;
static _Thread_local CK_OBJECT_HANDLE first, second;
static _Thread_local CK_SLOT_ID slots[64];
static _Thread_local CK_MECHANISM_TYPE types[64];
static _Thread_local CK_SESSION_HANDLE opened;
static _Thread_local union {
  CK_INFO library;
  CK_SLOT_INFO slot;
  CK_TOKEN_INFO token;
  CK_MECHANISM_INFO mechanism;
  CK_SESSION_INFO session;
} info;
static CK_MECHANISM rsa = {CKM_RSA_PKCS, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};
static CK_MECHANISM pair = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};

static CK_NOTIFY no_notify;
enum { NO_KEY = 4711 };

#define ROOM (size = sizeof bytes)
#define NONE CKR_OPERATION_NOT_INITIALIZED

/* name, scope, arguments with NULL, arguments with room, result of the one and of the other; h is the handle. */
#define FUNCTIONS(F)                                                                                                \
  F(C_GetInfo, LIBRARY, (NULL), (&info.library), CKR_ARGUMENTS_BAD, CKR_OK)                                         \
  F(C_GetSlotList, LIBRARY, (CK_TRUE, NULL, NULL), (CK_TRUE, slots, (count = 64, &count)), CKR_ARGUMENTS_BAD, CKR_OK) \
  F(C_GetSlotInfo, SLOT, (h, NULL), (h, &info.slot), CKR_ARGUMENTS_BAD, CKR_OK)                                     \
  F(C_GetTokenInfo, SLOT, (h, NULL), (h, &info.token), CKR_ARGUMENTS_BAD, CKR_OK)                                   \
  F(C_GetMechanismList, SLOT, (h, NULL, NULL), (h, types, (count = 64, &count)), CKR_ARGUMENTS_BAD, CKR_OK)         \
  F(C_GetMechanismInfo, SLOT, (h, CKM_RSA_PKCS, NULL), (h, CKM_RSA_PKCS, &info.mechanism), CKR_ARGUMENTS_BAD, CKR_OK) \
  F(C_InitToken, SLOT, (h, NULL, 1, NULL), (h, bytes, 4, bytes), CKR_ARGUMENTS_BAD, CKR_SESSION_EXISTS)             \
  F(C_OpenSession, SLOT, (h, CKF_SERIAL_SESSION, NULL, NULL, NULL), (h, 0, NULL, no_notify, &opened),               \
    CKR_ARGUMENTS_BAD, CKR_SESSION_PARALLEL_NOT_SUPPORTED)                                                          \
  F(C_WaitForSlotEvent, LIBRARY, (CKF_DONT_BLOCK, NULL, NULL), (CKF_DONT_BLOCK, slots, NULL), CKR_ARGUMENTS_BAD, CKR_NO_EVENT) \
  F(C_InitPIN, SESSION, (h, NULL, 1), (h, bytes, 4), CKR_USER_NOT_LOGGED_IN, CKR_USER_NOT_LOGGED_IN)                \
  F(C_SetPIN, SESSION, (h, NULL, 1, NULL, 1), (h, bytes, 4, bytes, 0), CKR_ARGUMENTS_BAD, CKR_PIN_LEN_RANGE)         \
  F(C_GetSessionInfo, SESSION, (h, NULL), (h, &info.session), CKR_ARGUMENTS_BAD, CKR_OK)                            \
  F(C_GetOperationState, SESSION, (h, NULL, NULL), (h, bytes, (ROOM, &size)), CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED) \
  F(C_SetOperationState, SESSION, (h, NULL, 1, 0, 0), (h, bytes, 1, 0, 0), CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED) \
  F(C_Login, SESSION, (h, CKU_USER, NULL, 4), (h, CKU_SO, bytes, 4), CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT)          \
  F(C_Logout, SESSION, (h), (h), CKR_USER_NOT_LOGGED_IN, CKR_USER_NOT_LOGGED_IN)                                    \
  F(C_CreateObject, SESSION, (h, NULL, 1, NULL), (h, NULL, 0, &first), CKR_ARGUMENTS_BAD, CKR_ARGUMENTS_BAD)        \
  F(C_CopyObject, SESSION, (h, NO_KEY, NULL, 1, NULL), (h, NO_KEY, NULL, 0, &first), CKR_OBJECT_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID) \
  F(C_DestroyObject, SESSION, (h, 0), (h, NO_KEY), CKR_OBJECT_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID)            \
  F(C_GetObjectSize, SESSION, (h, NO_KEY, NULL), (h, NO_KEY, &size), CKR_OBJECT_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID) \
  F(C_GetAttributeValue, SESSION, (h, NO_KEY, NULL, 1), (h, NO_KEY, NULL, 0), CKR_OBJECT_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID) \
  F(C_SetAttributeValue, SESSION, (h, NO_KEY, NULL, 1), (h, NO_KEY, NULL, 0), CKR_OBJECT_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID) \
  F(C_FindObjectsInit, SESSION, (h, NULL, 1), (h, NULL, ~0ul), CKR_ARGUMENTS_BAD, CKR_ARGUMENTS_BAD)                \
  F(C_FindObjects, SESSION, (h, NULL, 1, NULL), (h, &first, 1, &count), CKR_ARGUMENTS_BAD, NONE)                    \
  F(C_FindObjectsFinal, SESSION, (h), (h), NONE, NONE)                                                              \
  F(C_EncryptInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID)        \
  F(C_Encrypt, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)                   \
  F(C_EncryptUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)             \
  F(C_EncryptFinal, SESSION, (h, NULL, NULL), (h, more, (ROOM, &size)), NONE, NONE)                                 \
  F(C_DecryptInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID)        \
  F(C_Decrypt, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)                   \
  F(C_DecryptUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)             \
  F(C_DecryptFinal, SESSION, (h, NULL, NULL), (h, more, (ROOM, &size)), NONE, NONE)                                 \
  F(C_DigestInit, SESSION, (h, NULL), (h, &rsa), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID)                          \
  F(C_Digest, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)                    \
  F(C_DigestUpdate, SESSION, (h, NULL, 1), (h, bytes, 1), NONE, NONE)                                               \
  F(C_DigestKey, SESSION, (h, 0), (h, NO_KEY), NONE, NONE)                                                          \
  F(C_DigestFinal, SESSION, (h, NULL, NULL), (h, more, (ROOM, &size)), NONE, NONE)                                  \
  F(C_SignInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID)           \
  F(C_Sign, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)                      \
  F(C_SignUpdate, SESSION, (h, NULL, 1), (h, bytes, 1), NONE, NONE)                                                 \
  F(C_SignFinal, SESSION, (h, NULL, NULL), (h, more, (ROOM, &size)), NONE, NONE)                                    \
  F(C_SignRecoverInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID)     \
  F(C_SignRecover, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)               \
  F(C_VerifyInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID)         \
  F(C_Verify, SESSION, (h, NULL, 1, NULL, 1), (h, bytes, 1, more, 1), NONE, NONE)                                   \
  F(C_VerifyUpdate, SESSION, (h, NULL, 1), (h, bytes, 1), NONE, NONE)                                               \
  F(C_VerifyFinal, SESSION, (h, NULL, 1), (h, more, 1), NONE, NONE)                                                 \
  F(C_VerifyRecoverInit, SESSION, (h, NULL, NO_KEY), (h, &rsa, NO_KEY), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID)   \
  F(C_VerifyRecover, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)), NONE, NONE)             \
  F(C_DigestEncryptUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)),                   \
    CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED)                                                         \
  F(C_DecryptDigestUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)),                   \
    CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED)                                                         \
  F(C_SignEncryptUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)),                     \
    CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED)                                                         \
  F(C_DecryptVerifyUpdate, SESSION, (h, NULL, 1, NULL, NULL), (h, bytes, 1, more, (ROOM, &size)),                   \
    CKR_FUNCTION_NOT_SUPPORTED, CKR_FUNCTION_NOT_SUPPORTED)                                                         \
  F(C_GenerateKey, SESSION, (h, NULL, NULL, 1, NULL), (h, &sha256, NULL, 0, &first), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID) \
  F(C_GenerateKeyPair, SESSION, (h, NULL, NULL, 1, NULL, 1, NULL, NULL), (h, &pair, NULL, 0, NULL, 0, &first, &second), \
    CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCOMPLETE)                                                                     \
  F(C_WrapKey, SESSION, (h, NULL, 0, 0, NULL, NULL), (h, &rsa, NO_KEY, NO_KEY, bytes, (ROOM, &size)), CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID) \
  F(C_UnwrapKey, SESSION, (h, NULL, 0, NULL, 1, NULL, 1, NULL), (h, &rsa, NO_KEY, bytes, 1, NULL, 0, &first), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID) \
  F(C_DeriveKey, SESSION, (h, NULL, 0, NULL, 1, NULL), (h, &rsa, NO_KEY, NULL, 0, &first), CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID) \
  F(C_SeedRandom, SESSION, (h, NULL, 1), (h, bytes, 1), CKR_RANDOM_SEED_NOT_SUPPORTED, CKR_RANDOM_SEED_NOT_SUPPORTED) \
  F(C_GenerateRandom, SESSION, (h, NULL, 1), (h, bytes, 16), CKR_ARGUMENTS_BAD, CKR_OK)                             \
  F(C_GetFunctionStatus, SESSION, (h), (h), CKR_FUNCTION_NOT_PARALLEL, CKR_FUNCTION_NOT_PARALLEL)                   \
  F(C_CancelFunction, SESSION, (h), (h), CKR_FUNCTION_NOT_PARALLEL, CKR_FUNCTION_NOT_PARALLEL)

#define CALLERS(name, scope, null_arguments, room_arguments, ...)                                   \
  static CK_RV name##_with_nulls(CK_ULONG h) { (void)h; return p11->name null_arguments; }          \
  static CK_RV name##_with_room(CK_ULONG h) { (void)h; return p11->name room_arguments; }
#define ROW(name, scope, null_arguments, room_arguments, nulls, room) \
  {#name, scope, name##_with_nulls, name##_with_room, nulls, room},

FUNCTIONS(CALLERS)

/* All but C_Initialize, C_Finalize and C_GetFunctionList, and those that end sessions. */
const struct function functions[] = {FUNCTIONS(ROW)};
const size_t function_count = sizeof functions / sizeof functions[0];
