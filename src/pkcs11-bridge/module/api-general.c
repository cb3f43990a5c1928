/* General-purpose functions, slots, tokens and mechanisms: PKCS#11 v2.40 sections 5.4 and 5.5. */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "hash.h"
#include "module.h"
#include "rpc.h"

/* GnuTLS asks for each object that it lists: what the daemon said a moment ago is still right. */
enum { PIN_STATE_MS = 500, PIN_STATE_KEPT_MS = 1000 };

static const char manufacturer[] = "Threshold HSM";
static const CK_VERSION version = {0, 1};

/* PKCS#11 pads texts with blanks and ends them with nothing. */
static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
  size_t length = strnlen(text, size);
  memset(field, ' ', size);
  memcpy(field, text, length);
}

static CK_RV check_arguments(const CK_C_INITIALIZE_ARGS *arguments)
{
  if (arguments == NULL) return CKR_OK;
  int given = (arguments->CreateMutex != NULL) + (arguments->DestroyMutex != NULL) +
              (arguments->LockMutex != NULL) + (arguments->UnlockMutex != NULL);
  if (arguments->pReserved != NULL || (given != 0 && given != 4)) return CKR_ARGUMENTS_BAD;
  /* We lock with the system's mutexes; an application whose threads have only its own is told. */
  if (given == 4 && (arguments->flags & CKF_OS_LOCKING_OK) == 0) return CKR_CANT_LOCK;
  return CKR_OK;
}

/* CKF_LIBRARY_CANT_CREATE_OS_THREADS is always respected: there are no threads here. */
CK_RV C_Initialize(CK_VOID_PTR arguments)
{
  CK_RV result = check_arguments(arguments);
  return result == CKR_OK ? module_start() : result;
}

CK_RV C_Finalize(CK_VOID_PTR reserved) { return reserved == NULL ? module_stop() : CKR_ARGUMENTS_BAD; }

CK_RV C_GetInfo(CK_INFO_PTR info)
{
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  module_leave();
  if (info == NULL) return CKR_ARGUMENTS_BAD;
  memset(info, 0, sizeof *info);
  info->cryptokiVersion = (CK_VERSION){2, 40};
  pad(info->manufacturerID, sizeof info->manufacturerID, manufacturer);
  pad(info->libraryDescription, sizeof info->libraryDescription, "Threshold HSM PKCS#11 module");
  info->libraryVersion = version;
  return CKR_OK;
}

/* All slots always hold their token: neither depends on the daemon. */
CK_RV C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count)
{
  (void)present;
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  if (count == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  module_retry_config();
  CK_ULONG have = module.config.token_count;
  bool fits = slots == NULL || *count >= have;
  for (CK_ULONG i = 0; slots != NULL && fits && i < have; i++) slots[i] = i;
  *count = have;
  return module_leave_with(fits ? CKR_OK : CKR_BUFFER_TOO_SMALL);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  if (info == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  char text[64];
  (void)snprintf(text, sizeof text, "Threshold HSM %s", module.config.tokens[slot]);
  memset(info, 0, sizeof *info);
  pad(info->slotDescription, sizeof info->slotDescription, text);
  pad(info->manufacturerID, sizeof info->manufacturerID, manufacturer);
  info->flags = CKF_TOKEN_PRESENT;
  info->hardwareVersion = info->firmwareVersion = version;
  return module_leave_with(CKR_OK);
}

/* The same label has the same serial number on every host, so that URIs can be copied. */
static void set_serial(CK_TOKEN_INFO *info, const char *label)
{
  struct hash hash;
  uint8_t digest[HASH_SIZE_MAX];
  char text[2 * 8 + 1];
  hash_start(&hash, HASH_SHA256);
  hash_update(&hash, (const uint8_t *)label, strlen(label));
  hash_finish(&hash, digest);
  for (size_t i = 0; i < 8; i++) (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
  pad(info->serialNumber, sizeof info->serialNumber, text);
}

/* What the daemon says of wrong PINs. Without one there are no flags, and no long wait. */
static CK_FLAGS pin_flags(uint64_t generation, const char *label)
{
  uint8_t buffer[2 + CONFIG_LABEL_MAX];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, label);
  struct call call = {.op = OP_PIN_STATE, .body = &body, .timeout_ms = PIN_STATE_MS, .once = true};
  struct reply reply;
  CK_FLAGS flags = 0;
  if (rpc_call(generation, &call, &reply) == CKR_OK) {
    uint32_t wrong = read_u32(&reply.body);
    uint32_t left = read_u32(&reply.body);
    if (!reader_done(&reply.body)) (void)rpc_malformed();
    else if (left == 0) flags = CKF_USER_PIN_LOCKED;
    else if (wrong > 0) flags = CKF_USER_PIN_COUNT_LOW | (left == 1 ? CKF_USER_PIN_FINAL_TRY : 0);
  }
  reply_free(&reply);
  return flags;
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  if (info == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  memset(info, 0, sizeof *info);
  pad(info->label, sizeof info->label, module.config.tokens[slot]);
  pad(info->manufacturerID, sizeof info->manufacturerID, manufacturer);
  pad(info->model, sizeof info->model, "Threshold RSA");
  set_serial(info, module.config.tokens[slot]);
  info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_RNG;
  info->ulMaxSessionCount = info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
  session_count(slot, &info->ulSessionCount, &info->ulRwSessionCount);
  info->ulMinPinLen = 1;
  info->ulMaxPinLen = 255;
  info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
  info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info->hardwareVersion = info->firmwareVersion = version;
  pad(info->utcTime, sizeof info->utcTime, "");
  struct token *token = &module.tokens[slot];
  if (clock_now() < token->pin_flags_until) {
    info->flags |= token->pin_flags;
    return module_leave_with(CKR_OK);
  }
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  uint64_t generation = module.generation;
  module_leave();
  CK_FLAGS flags = pin_flags(generation, label);
  info->flags |= flags;
  if (module_enter_again(generation) != CKR_OK) return CKR_OK;
  token->pin_flags = flags;
  token->pin_flags_until = clock_now() + PIN_STATE_KEPT_MS;
  return module_leave_with(CKR_OK);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR types, CK_ULONG_PTR count)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  module_leave();
  if (count == NULL) return CKR_ARGUMENTS_BAD;
  CK_ULONG have = mechanism_count();
  bool fits = types == NULL || *count >= have;
  for (CK_ULONG i = 0; types != NULL && fits && i < have; i++) types[i] = mechanism_at(i);
  *count = have;
  return fits ? CKR_OK : CKR_BUFFER_TOO_SMALL;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
  CK_RV result = module_enter_slot(slot);
  if (result != CKR_OK) return result;
  module_leave();
  if (info == NULL) return CKR_ARGUMENTS_BAD;
  return mechanism_info(type, info) ? CKR_OK : CKR_MECHANISM_INVALID;
}
