/* Objects that are there: PKCS#11 v2.40 section 5.7, but for searching. */
#include <string.h>

#include "enter.h"
#include "keys.h"
#include "login.h"
#include "module.h"
#include "template.h"

enum { NAME_MAX_BYTES = 1020 }; /* 255 characters of UTF-8 */

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  struct session *session;
  const struct object *object;
  CK_RV result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  if (template == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  return module_leave_with(object_get(object, template, count));
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, CK_ULONG_PTR size)
{
  struct session *session;
  const struct object *object;
  CK_RV result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  if (size == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  *size = 0;
  for (CK_ULONG i = 0; i < object->count; i++) *size += object->attributes[i].size;
  return module_leave_with(CKR_OK);
}

/* Within module_enter(); the object is a session's own. */
static CK_RV set_local(struct token *token, const struct object *object, const CK_ATTRIBUTE *template, CK_ULONG count)
{
  struct object changed;
  CK_OBJECT_HANDLE handle = object->handle;
  bool good = object_copy(&changed, object);
  for (CK_ULONG i = 0; good && i < count; i++) {
    good = object_set(&changed, template[i].type, KIND_BYTES, template[i].pValue, template[i].ulValueLen);
    if (!good) object_clear(&changed);
  }
  if (!good) return CKR_HOST_MEMORY;
  token_replace_local(token, handle, &changed);
  return CKR_OK;
}

static void write_name(struct writer *body, const CK_ATTRIBUTE *name)
{
  write_u8(body, name != NULL);
  if (name != NULL) write_bytes(body, name->pValue, name->ulValueLen);
}

/* On the token a name is part of the signed record: the daemon publishes the change. */
static CK_RV set_on_token(uint64_t generation, CK_SLOT_ID slot, const char *label, unsigned timeout_ms,
                          CK_OBJECT_HANDLE key, const CK_ATTRIBUTE *template, CK_ULONG count)
{
  uint8_t buffer[CONFIG_LABEL_MAX + 2 * NAME_MAX_BYTES + 32];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, label);
  write_u64(&body, key);
  write_name(&body, template_find(template, count, CKA_LABEL));
  write_name(&body, template_find(template, count, CKA_ID));
  struct call call = {.op = OP_RELABEL, .body = &body, .timeout_ms = timeout_ms};
  struct reply reply;
  CK_RV result = call_as_user(generation, slot, &call, &reply);
  reply_free(&reply);
  return result == CKR_OK ? keys_refresh(generation, slot) : result;
}

/* Of everything else a key's record is final, and a certificate is what it is. */
static CK_RV check_names(const CK_ATTRIBUTE *template, CK_ULONG count)
{
  for (CK_ULONG i = 0; i < count; i++) {
    if (template[i].type != CKA_LABEL && template[i].type != CKA_ID) return CKR_ATTRIBUTE_READ_ONLY;
    if (template[i].ulValueLen > NAME_MAX_BYTES) return CKR_ATTRIBUTE_VALUE_INVALID;
  }
  return CKR_OK;
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  struct session *session;
  const struct object *object;
  CK_RV result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  if (template == NULL || !template_is_readable(template, count)) return module_leave_with(CKR_ARGUMENTS_BAD);
  CK_SLOT_ID slot = session->slot;
  bool on_token = object->owner == 0;
  if (on_token && !session->writable) return module_leave_with(CKR_SESSION_READ_ONLY);
  result = object_is(object, CKA_MODIFIABLE) ? check_names(template, count) : CKR_ACTION_PROHIBITED;
  if (result != CKR_OK) return module_leave_with(result);
  if (!on_token) return module_leave_with(set_local(&module.tokens[slot], object, template, count));
  uint64_t generation = module.generation;
  unsigned timeout_ms = module.config.timeout_ms;
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  module_leave();
  return set_on_token(generation, slot, label, timeout_ms, key, template, count);
}

static CK_RV destroy_key(uint64_t generation, CK_SLOT_ID slot, CK_OBJECT_HANDLE key, unsigned timeout_ms)
{
  uint8_t buffer[CONFIG_LABEL_MAX + 16];
  struct writer body = writer_over(buffer, sizeof buffer);
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  write_text(&body, module.config.tokens[slot]);
  module_leave();
  write_u64(&body, key);
  struct call call = {.op = OP_DESTROY, .body = &body, .timeout_ms = timeout_ms};
  struct reply reply;
  result = call_as_user(generation, slot, &call, &reply);
  reply_free(&reply);
  /* We held this handle as good: if it is gone when asked again, our first request did it. */
  return result == CKR_OBJECT_HANDLE_INVALID && call.resent ? CKR_OK : result;
}

/*
 * A key goes with its private object. Then the public one is gone too, and destroying it as well,
 * as OpenDNSSEC does, succeeds once. The public object alone cannot be destroyed.
 */
CK_RV C_DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (token_take_destroyed(&module.tokens[session->slot], key)) return module_leave_with(CKR_OK);
  module_leave();

  const struct object *object;
  result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = session->slot;
  if (object->owner != 0) {
    token_remove_local(&module.tokens[slot], key);
    return module_leave_with(CKR_OK);
  }
  if (!session->writable) return module_leave_with(CKR_SESSION_READ_ONLY);
  if (!object_is(object, CKA_DESTROYABLE)) return module_leave_with(CKR_ACTION_PROHIBITED);
  uint64_t generation = module.generation;
  unsigned timeout_ms = module.config.timeout_ms;
  module_leave();

  result = destroy_key(generation, slot, key, timeout_ms);
  if (result != CKR_OK) return result;
  result = keys_refresh(generation, slot);
  if (result == CKR_OK) result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  if ((key & HANDLE_PRIVATE) != 0) token_note_destroyed(&module.tokens[slot], key & ~HANDLE_PRIVATE);
  return module_leave_with(CKR_OK);
}
