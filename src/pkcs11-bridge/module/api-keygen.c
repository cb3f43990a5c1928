/* C_GenerateKeyPair: PKCS#11 v2.40 section 5.13. */
#include <string.h>
#include <sys/random.h>

#include "login.h"
#include "module.h"
#include "template.h"

enum { ID_MAX = 255, LABEL_MAX = 255, DEFAULT_ID_SIZE = 20, OPERATION_SIZE = 16 };

/* What both templates together ask for. */
struct wish {
  CK_ULONG bits;
  bool on_token;
  enum { UNSAID, NO, YES } signs, decrypts;
  const CK_ATTRIBUTE *label;
  const CK_ATTRIBUTE *id;
};

static CK_RV require_bool(const CK_ATTRIBUTE *attribute, bool wanted)
{
  bool value;
  return attribute_bool(attribute, &value) && value == wanted ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

static CK_RV require_number(const CK_ATTRIBUTE *attribute, CK_ULONG wanted)
{
  CK_ULONG value;
  return attribute_number(attribute, &value) && value == wanted ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

/* Exponents other than 65537 have no use here: the scheme needs a prime above the party count. */
static CK_RV require_f4(const CK_ATTRIBUTE *attribute)
{
  static const uint8_t f4[] = {1, 0, 1};
  const uint8_t *value = attribute->pValue;
  CK_ULONG size = attribute->ulValueLen;
  while (size > 0 && *value == 0) value++, size--;
  return size == sizeof f4 && memcmp(value, f4, size) == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

static CK_RV take_text(const CK_ATTRIBUTE **place, const CK_ATTRIBUTE *attribute, CK_ULONG max)
{
  if (attribute->ulValueLen > max) return CKR_ATTRIBUTE_VALUE_INVALID;
  const CK_ATTRIBUTE *before = *place;
  if (attribute->ulValueLen == 0) return CKR_OK;
  if (before != NULL && (before->ulValueLen != attribute->ulValueLen ||
                         memcmp(before->pValue, attribute->pValue, before->ulValueLen) != 0)) {
    return CKR_TEMPLATE_INCONSISTENT; /* both halves of a pair carry the same id and label */
  }
  *place = attribute;
  return CKR_OK;
}

static CK_RV take_common(struct wish *wish, const CK_ATTRIBUTE *attribute)
{
  bool value;
  switch (attribute->type) {
  case CKA_KEY_TYPE:
    return require_number(attribute, CKK_RSA);
  case CKA_LABEL:
    return take_text(&wish->label, attribute, LABEL_MAX);
  case CKA_ID:
    return take_text(&wish->id, attribute, ID_MAX);
  /* Asked for by Knot, pkcs11-tool and others as a matter of course. The key has what it has:
     these read as FALSE afterwards, or as the token's own value. */
  case CKA_ENCRYPT:
  case CKA_WRAP:
  case CKA_UNWRAP:
  case CKA_DERIVE:
  case CKA_SIGN_RECOVER:
  case CKA_VERIFY_RECOVER:
  case CKA_MODIFIABLE:
  case CKA_COPYABLE:
  case CKA_DESTROYABLE:
    return attribute_bool(attribute, &value) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_SUBJECT:
  case CKA_START_DATE:
  case CKA_END_DATE:
    return attribute->ulValueLen == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_MODULUS:
  case CKA_LOCAL:
  case CKA_KEY_GEN_MECHANISM:
  case CKA_ALWAYS_SENSITIVE:
  case CKA_NEVER_EXTRACTABLE:
    return CKR_ATTRIBUTE_READ_ONLY;
  default:
    return CKR_ATTRIBUTE_TYPE_INVALID;
  }
}

static CK_RV take_public(struct wish *wish, const CK_ATTRIBUTE *attribute)
{
  bool value;
  switch (attribute->type) {
  case CKA_CLASS:
    return require_number(attribute, CKO_PUBLIC_KEY);
  case CKA_TOKEN: /* OpenDNSSEC's SkipPublicKey says FALSE; the public half is on the token anyway */
    return attribute_bool(attribute, &value) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_PRIVATE:
  case CKA_TRUSTED:
    return require_bool(attribute, false);
  case CKA_VERIFY: /* what the key is for, the private half says */
    return attribute_bool(attribute, &value) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  case CKA_PUBLIC_EXPONENT:
    return require_f4(attribute);
  case CKA_MODULUS_BITS:
    return attribute_number(attribute, &wish->bits) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  default:
    return take_common(wish, attribute);
  }
}

static CK_RV take_private(struct wish *wish, const CK_ATTRIBUTE *attribute)
{
  bool value;
  switch (attribute->type) {
  case CKA_CLASS:
    return require_number(attribute, CKO_PRIVATE_KEY);
  case CKA_TOKEN:
    wish->on_token = true;
    return require_bool(attribute, true);
  case CKA_PRIVATE:
  case CKA_SENSITIVE:
    return require_bool(attribute, true);
  case CKA_SIGN:
    if (!attribute_bool(attribute, &value)) return CKR_ATTRIBUTE_VALUE_INVALID;
    wish->signs = value ? YES : NO;
    return CKR_OK;
  case CKA_DECRYPT:
    if (!attribute_bool(attribute, &value)) return CKR_ATTRIBUTE_VALUE_INVALID;
    wish->decrypts = value ? YES : NO;
    return CKR_OK;
  case CKA_EXTRACTABLE:
  case CKA_ALWAYS_AUTHENTICATE:
  case CKA_WRAP_WITH_TRUSTED:
    return require_bool(attribute, false);
  default:
    return take_common(wish, attribute);
  }
}

typedef CK_RV taker(struct wish *, const CK_ATTRIBUTE *);

static CK_RV take_template(struct wish *wish, taker *take, const CK_ATTRIBUTE *template, CK_ULONG count)
{
  if (!template_is_readable(template, count)) return CKR_ARGUMENTS_BAD;
  for (CK_ULONG i = 0; i < count; i++) {
    CK_RV result = take(wish, &template[i]);
    if (result != CKR_OK) return result;
  }
  return CKR_OK;
}

static CK_RV check_wish(const struct wish *wish)
{
  if (wish->bits == 0 || !wish->on_token) return CKR_TEMPLATE_INCOMPLETE;
  if (wish->signs == NO && wish->decrypts != YES) return CKR_TEMPLATE_INCONSISTENT;
  bool offered = wish->bits == 1024 || wish->bits == 2048 || wish->bits == 3072 || wish->bits == 4096;
  return offered ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

/* The random bytes are drawn once, so that every resent copy names the same wish and the same id. */
static bool write_wish(struct writer *body, const struct wish *wish, const char *token)
{
  uint8_t operation[OPERATION_SIZE], id[DEFAULT_ID_SIZE];
  if (getrandom(operation, sizeof operation, 0) != (ssize_t)sizeof operation) return false;
  if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) return false;
  write_text(body, token);
  write_fixed(body, operation, sizeof operation);
  write_bytes(body, wish->label == NULL ? NULL : wish->label->pValue, wish->label == NULL ? 0 : wish->label->ulValueLen);
  if (wish->id != NULL) write_bytes(body, wish->id->pValue, wish->id->ulValueLen);
  else write_bytes(body, id, sizeof id);
  write_u16(body, (uint16_t)wish->bits);
  /* A key is for one of the two. Whoever asks for both, as Knot does for every key, wants to sign. */
  write_u8(body, wish->decrypts == YES && wish->signs != YES);
  return !body->failed;
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR public_template,
                        CK_ULONG public_count, CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
                        CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (mechanism == NULL || public_key == NULL || private_key == NULL) return module_leave_with(CKR_ARGUMENTS_BAD);
  struct mechanism parsed;
  struct wish wish = {0};
  result = mechanism_parse(&parsed, mechanism, CKF_GENERATE_KEY_PAIR);
  if (result == CKR_OK) result = take_template(&wish, take_public, public_template, public_count);
  if (result == CKR_OK) result = take_template(&wish, take_private, private_template, private_count);
  if (result == CKR_OK) result = check_wish(&wish);
  if (result != CKR_OK) return module_leave_with(result);
  CK_SLOT_ID slot = session->slot;
  if (!session->writable) return module_leave_with(CKR_SESSION_READ_ONLY);
  if (!module.tokens[slot].logged_in) return module_leave_with(CKR_USER_NOT_LOGGED_IN);

  uint64_t generation = module.generation;
  uint8_t buffer[CONFIG_LABEL_MAX + OPERATION_SIZE + LABEL_MAX + ID_MAX + 16];
  struct writer body = writer_over(buffer, sizeof buffer);
  bool written = write_wish(&body, &wish, module.config.tokens[slot]);
  struct call call = {.op = OP_GENERATE, .body = &body, .timeout_ms = module.config.keygen_timeout_ms};
  module_leave();
  if (!written) return CKR_FUNCTION_FAILED;

  struct reply reply;
  result = call_as_user(generation, slot, &call, &reply);
  if (result == CKR_OK) {
    CK_OBJECT_HANDLE public_handle = read_u64(&reply.body), private_handle = read_u64(&reply.body);
    if (!reader_done(&reply.body)) result = rpc_malformed();
    else *public_key = public_handle, *private_key = private_handle;
  }
  reply_free(&reply);
  return result;
}
