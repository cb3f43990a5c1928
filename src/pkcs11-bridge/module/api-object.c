/* Object management but for searching: PKCS#11 v2.40 section 5.7. */
#include <string.h>

#include "keys.h"
#include "login.h"
#include "module.h"
#include "template.h"

static CK_OBJECT_HANDLE last_local; /* guarded by module_enter() */

/*
 * The session and the visible object; leaves on any other result than CKR_OK. An unknown handle
 * is looked for once more in a fresh list: it may be a key that was made a moment ago.
 */
static CK_RV enter_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, struct session **session,
                          const struct object **object)
{
  CK_RV result = module_enter_session(handle, session);
  if (result != CKR_OK) return result;
  CK_SLOT_ID slot = (*session)->slot;
  *object = token_find(&module.tokens[slot], key);
  if (*object == NULL && (key & HANDLE_LOCAL) == 0) {
    uint64_t generation = module.generation;
    module_leave();
    result = keys_refresh(generation, slot);
    if (result == CKR_OK) result = module_enter_session(handle, session);
    if (result != CKR_OK) return result;
    *object = token_find(&module.tokens[slot], key);
  }
  if (*object != NULL && token_shows(&module.tokens[slot], *object)) return CKR_OK;
  return module_leave_with(CKR_OBJECT_HANDLE_INVALID);
}

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

/* Names may be changed on session objects only: on the token they are part of the signed record. */
CK_RV C_SetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  struct session *session;
  const struct object *object;
  CK_RV result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  if (template == NULL || !template_is_readable(template, count)) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (object->owner == 0) return module_leave_with(CKR_ACTION_PROHIBITED);
  for (CK_ULONG i = 0; i < count; i++) {
    if (template[i].type != CKA_LABEL && template[i].type != CKA_ID) return module_leave_with(CKR_ATTRIBUTE_READ_ONLY);
  }
  struct object changed;
  bool good = object_copy(&changed, object);
  for (CK_ULONG i = 0; good && i < count; i++) {
    good = object_set(&changed, template[i].type, KIND_BYTES, template[i].pValue, template[i].ulValueLen);
    if (!good) object_clear(&changed);
  }
  if (!good) return module_leave_with(CKR_HOST_MEMORY);
  token_remove_local(&module.tokens[session->slot], key);
  if (token_add_local(&module.tokens[session->slot], &changed)) return module_leave_with(CKR_OK);
  object_clear(&changed);
  return module_leave_with(CKR_HOST_MEMORY);
}

/* Puts `object` among the session's objects, or clears it. */
static CK_RV adopt(struct session *session, struct object *object, CK_OBJECT_HANDLE *handle)
{
  object->owner = session->handle;
  object->handle = HANDLE_LOCAL | ++last_local;
  CK_OBJECT_HANDLE adopted = object->handle;
  if (!token_add_local(&module.tokens[session->slot], object)) {
    object_clear(object);
    return CKR_HOST_MEMORY;
  }
  *handle = adopted;
  return CKR_OK;
}

/* Leading zeros do not belong to a number; without them its length is the key's size. */
static CK_RV set_integer(struct object *object, const CK_ATTRIBUTE *attribute, CK_ULONG max)
{
  const uint8_t *value = attribute->pValue;
  CK_ULONG size = attribute->ulValueLen;
  while (size > 0 && *value == 0) value++, size--;
  if (size == 0 || size > max) return CKR_ATTRIBUTE_VALUE_INVALID;
  return object_set(object, attribute->type, KIND_BYTES, value, size) ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV set_public_key_attribute(struct object *object, const CK_ATTRIBUTE *attribute)
{
  bool value;
  CK_ULONG number;
  switch (attribute->type) {
  case CKA_MODULUS:
    return set_integer(object, attribute, MODULUS_MAX);
  case CKA_PUBLIC_EXPONENT:
    return set_integer(object, attribute, EXPONENT_MAX);
  case CKA_LABEL:
  case CKA_ID:
  case CKA_SUBJECT:
    return object_set(object, attribute->type, KIND_BYTES, attribute->pValue, attribute->ulValueLen)
             ? CKR_OK : CKR_HOST_MEMORY;
  case CKA_CLASS:
    return attribute_number(attribute, &number) && number == CKO_PUBLIC_KEY ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_KEY_TYPE:
    return attribute_number(attribute, &number) && number == CKK_RSA ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_TOKEN:
  case CKA_PRIVATE:
  case CKA_TRUSTED:
    return attribute_bool(attribute, &value) && !value ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_VERIFY:
  case CKA_ENCRYPT:
    if (!attribute_bool(attribute, &value)) return CKR_ATTRIBUTE_VALUE_INVALID;
    return object_set_bool(object, attribute->type, value) ? CKR_OK : CKR_HOST_MEMORY;
  case CKA_WRAP:
  case CKA_VERIFY_RECOVER:
  case CKA_DERIVE:
  case CKA_MODIFIABLE:
  case CKA_COPYABLE:
  case CKA_DESTROYABLE:
    return attribute_bool(attribute, &value) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  default:
    return CKR_ATTRIBUTE_TYPE_INVALID;
  }
}

static bool set_defaults(struct object *object)
{
  static const CK_ATTRIBUTE_TYPE yes[] = {CKA_VERIFY, CKA_ENCRYPT, CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE};
  static const CK_ATTRIBUTE_TYPE no[] = {CKA_TOKEN, CKA_PRIVATE, CKA_TRUSTED, CKA_WRAP,
                                         CKA_VERIFY_RECOVER, CKA_DERIVE, CKA_LOCAL};
  static const CK_ATTRIBUTE_TYPE empty[] = {CKA_LABEL, CKA_ID, CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE};
  bool good = object_set_number(object, CKA_CLASS, CKO_PUBLIC_KEY) &&
              object_set_number(object, CKA_KEY_TYPE, CKK_RSA) &&
              object_set_number(object, CKA_KEY_GEN_MECHANISM, CK_UNAVAILABLE_INFORMATION);
  for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) good = good && object_set_bool(object, yes[i], true);
  for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) good = good && object_set_bool(object, no[i], false);
  for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) good = good && object_set(object, empty[i], KIND_BYTES, NULL, 0);
  return good;
}

static CK_RV build_public_key(struct object *object, const CK_ATTRIBUTE *template, CK_ULONG count)
{
  if (!set_defaults(object)) return CKR_HOST_MEMORY;
  for (CK_ULONG i = 0; i < count; i++) {
    CK_RV result = set_public_key_attribute(object, &template[i]);
    if (result != CKR_OK) return result;
  }
  const struct attribute *modulus = object_find(object, CKA_MODULUS);
  if (modulus == NULL || object_find(object, CKA_PUBLIC_EXPONENT) == NULL) return CKR_TEMPLATE_INCOMPLETE;
  CK_ULONG bits = modulus->size * 8;
  for (uint8_t top = modulus->value[0]; (top & 0x80) == 0; top = (uint8_t)(top << 1)) bits--;
  return object_set_number(object, CKA_MODULUS_BITS, bits) ? CKR_OK : CKR_HOST_MEMORY;
}

/* Session objects of RSA public keys only: a private key never enters whole from outside. */
CK_RV C_CreateObject(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR created)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (created == NULL || template == NULL || !template_is_readable(template, count)) {
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  if (template_find(template, count, CKA_CLASS) == NULL || template_find(template, count, CKA_KEY_TYPE) == NULL) {
    return module_leave_with(CKR_TEMPLATE_INCOMPLETE);
  }
  struct object object = {0};
  result = build_public_key(&object, template, count);
  if (result == CKR_OK) result = adopt(session, &object, created);
  else object_clear(&object);
  return module_leave_with(result);
}

/* A copy of a public key as a session object; a private key stays where it is. */
CK_RV C_CopyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                   CK_OBJECT_HANDLE_PTR copied)
{
  struct session *session;
  const struct object *object;
  CK_RV result = enter_object(handle, key, &session, &object);
  if (result != CKR_OK) return result;
  if (copied == NULL || !template_is_readable(template, count)) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (!object_is(object, CKA_COPYABLE)) return module_leave_with(CKR_ACTION_PROHIBITED);
  const CK_ATTRIBUTE *token = template_find(template, count, CKA_TOKEN);
  bool on_token = false;
  if (token != NULL && (!attribute_bool(token, &on_token) || on_token)) {
    return module_leave_with(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  struct object copy;
  if (!object_copy(&copy, object)) return module_leave_with(CKR_HOST_MEMORY);
  bool good = object_set_bool(&copy, CKA_TOKEN, false) && object_set_bool(&copy, CKA_MODIFIABLE, true) &&
              object_set_bool(&copy, CKA_DESTROYABLE, true);
  result = good ? CKR_OK : CKR_HOST_MEMORY;
  for (CK_ULONG i = 0; result == CKR_OK && i < count; i++) {
    const CK_ATTRIBUTE *each = &template[i];
    if (each->type == CKA_TOKEN) continue;
    if (each->type != CKA_LABEL && each->type != CKA_ID) result = CKR_ATTRIBUTE_READ_ONLY;
    else if (!object_set(&copy, each->type, KIND_BYTES, each->pValue, each->ulValueLen)) result = CKR_HOST_MEMORY;
  }
  if (result == CKR_OK) result = adopt(session, &copy, copied);
  else object_clear(&copy);
  return module_leave_with(result);
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
  token_note_destroyed(&module.tokens[slot], key & ~HANDLE_PRIVATE);
  return module_leave_with(CKR_OK);
}
