/* New objects: PKCS#11 v2.40 section 5.7. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "enter.h"
#include "keys.h"
#include "log.h"
#include "login.h"
#include "module.h"
#include "template.h"

enum { VALUE_MAX = 16 * 1024, FIELD_MAX = 2048, STORE_MAX = VALUE_MAX + 8 * FIELD_MAX, OPERATION_SIZE = 16 };
enum { NOTE_MS = 1000, NOTE_PRIVATE_KEY = 1 };

static CK_OBJECT_HANDLE last_local; /* guarded by module_enter() */

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

/* Tells the operator, by syslog and by the daemon's log, and does not wait for a daemon that is away. */
static CK_RV refuse_private_key(uint64_t generation, const char *label)
{
  log_line("a private key cannot be imported: keys of this token are made in shares and are whole nowhere");
  uint8_t buffer[CONFIG_LABEL_MAX + 8];
  struct writer body = writer_over(buffer, sizeof buffer);
  write_text(&body, label);
  write_u8(&body, NOTE_PRIVATE_KEY);
  struct call call = {.op = OP_NOTE, .body = &body, .timeout_ms = NOTE_MS, .once = true};
  struct reply reply;
  (void)rpc_call(generation, &call, &reply);
  reply_free(&reply);
  return CKR_ATTRIBUTE_VALUE_INVALID;
}

/* What a certificate or data object may say of itself. */
static CK_RV check_stored(CK_OBJECT_CLASS class, const CK_ATTRIBUTE *attribute)
{
  bool value;
  CK_ULONG number;
  bool is_certificate = class == CKO_CERTIFICATE;
  switch (attribute->type) {
  case CKA_CLASS:
  case CKA_TOKEN:
    return CKR_OK;
  case CKA_LABEL:
    return attribute->ulValueLen <= FIELD_MAX ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_VALUE:
    return attribute->ulValueLen >= 1 && attribute->ulValueLen <= VALUE_MAX ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_PRIVATE: /* whatever is stored stands open in the event stream */
    return attribute_bool(attribute, &value) && !value ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_MODIFIABLE:
  case CKA_COPYABLE:
  case CKA_DESTROYABLE:
    return attribute_bool(attribute, &value) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_APPLICATION:
  case CKA_OBJECT_ID:
    if (is_certificate) return CKR_ATTRIBUTE_TYPE_INVALID;
    return attribute->ulValueLen <= FIELD_MAX ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  default:
    break;
  }
  if (!is_certificate) return CKR_ATTRIBUTE_TYPE_INVALID;
  switch (attribute->type) {
  case CKA_ID:
    return attribute->ulValueLen <= 255 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_SUBJECT:
  case CKA_ISSUER:
  case CKA_SERIAL_NUMBER:
    return attribute->ulValueLen <= FIELD_MAX ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_CERTIFICATE_TYPE:
    return attribute_number(attribute, &number) && number == CKC_X_509 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_TRUSTED:
    return attribute_bool(attribute, &value) && !value ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_CERTIFICATE_CATEGORY: /* said by GnuTLS; whoever wants to know reads the certificate */
  case CKA_CHECK_VALUE:
  case CKA_START_DATE:
  case CKA_END_DATE:
    return CKR_OK;
  default:
    return CKR_ATTRIBUTE_TYPE_INVALID;
  }
}

static CK_RV check_stored_template(CK_OBJECT_CLASS class, const CK_ATTRIBUTE *template, CK_ULONG count)
{
  for (CK_ULONG i = 0; i < count; i++) {
    CK_RV result = check_stored(class, &template[i]);
    if (result != CKR_OK) return result;
  }
  const CK_ATTRIBUTE *token = template_find(template, count, CKA_TOKEN);
  bool on_token = false;
  if (template_find(template, count, CKA_VALUE) == NULL) return CKR_TEMPLATE_INCOMPLETE;
  /* For the life of a session, an application can keep such things by itself. */
  if (token == NULL || !attribute_bool(token, &on_token) || !on_token) return CKR_TEMPLATE_INCONSISTENT;
  return CKR_OK;
}

/* The attributes that are kept; random bytes name the wish, so that a resent copy stores nothing twice. */
static bool write_stored(struct writer *body, const char *label, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *template,
                         CK_ULONG count)
{
  static const CK_ATTRIBUTE_TYPE kept[] = {CKA_LABEL, CKA_VALUE, CKA_ID, CKA_SUBJECT, CKA_ISSUER,
                                           CKA_SERIAL_NUMBER, CKA_APPLICATION, CKA_OBJECT_ID};
  uint8_t operation[OPERATION_SIZE];
  if (getrandom(operation, sizeof operation, 0) != (ssize_t)sizeof operation) return false;
  write_text(body, label);
  write_fixed(body, operation, sizeof operation);
  write_u32(body, (uint32_t)class);
  uint16_t present = 0;
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) present = (uint16_t)(present + (template_find(template, count, kept[i]) != NULL));
  write_u16(body, present);
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
    const CK_ATTRIBUTE *found = template_find(template, count, kept[i]);
    if (found == NULL) continue;
    write_u32(body, (uint32_t)kept[i]);
    write_bytes(body, found->pValue, found->ulValueLen);
  }
  return !body->failed;
}

static CK_RV store(uint64_t generation, CK_SLOT_ID slot, unsigned timeout_ms, const struct writer *body,
                   CK_OBJECT_HANDLE *created)
{
  struct call call = {.op = OP_STORE, .body = body, .timeout_ms = timeout_ms};
  struct reply reply;
  CK_RV result = call_as_user(generation, slot, &call, &reply);
  if (result == CKR_OK) {
    CK_OBJECT_HANDLE handle = read_u64(&reply.body);
    if (reader_done(&reply.body)) *created = handle;
    else result = rpc_malformed();
  }
  reply_free(&reply);
  return result;
}

/* Certificates and data go to the token, for all to see. Leaves. */
static CK_RV create_stored(struct session *session, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *template, CK_ULONG count,
                           CK_OBJECT_HANDLE *created)
{
  CK_SLOT_ID slot = session->slot;
  CK_RV result = check_stored_template(class, template, count);
  if (result == CKR_OK && !session->writable) result = CKR_SESSION_READ_ONLY;
  if (result == CKR_OK && !module.tokens[slot].logged_in) result = CKR_USER_NOT_LOGGED_IN;
  if (result != CKR_OK) return module_leave_with(result);
  uint8_t *buffer = malloc(STORE_MAX);
  if (buffer == NULL) return module_leave_with(CKR_HOST_MEMORY);
  struct writer body = writer_over(buffer, STORE_MAX);
  bool written = write_stored(&body, module.config.tokens[slot], class, template, count);
  uint64_t generation = module.generation;
  unsigned timeout_ms = module.config.timeout_ms;
  module_leave();
  result = written ? store(generation, slot, timeout_ms, &body, created) : CKR_FUNCTION_FAILED;
  free(buffer);
  return result;
}

/* An RSA public key for the session; a private key never enters whole from outside. */
CK_RV C_CreateObject(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR created)
{
  struct session *session;
  CK_OBJECT_CLASS class;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (created == NULL || template == NULL || !template_is_readable(template, count)) {
    return module_leave_with(CKR_ARGUMENTS_BAD);
  }
  const CK_ATTRIBUTE *given = template_find(template, count, CKA_CLASS);
  if (given == NULL) return module_leave_with(CKR_TEMPLATE_INCOMPLETE);
  if (!attribute_number(given, &class)) return module_leave_with(CKR_ATTRIBUTE_VALUE_INVALID);
  if (class == CKO_PRIVATE_KEY) {
    uint64_t generation = module.generation;
    char label[CONFIG_LABEL_MAX + 1];
    memcpy(label, module.config.tokens[session->slot], sizeof label);
    module_leave();
    return refuse_private_key(generation, label);
  }
  if (class == CKO_CERTIFICATE || class == CKO_DATA) return create_stored(session, class, template, count, created);
  if (template_find(template, count, CKA_KEY_TYPE) == NULL) return module_leave_with(CKR_TEMPLATE_INCOMPLETE);
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
