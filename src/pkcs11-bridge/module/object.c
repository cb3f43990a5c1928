#include "object.h"

#include <stdlib.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 128 }; /* of one object on the wire; the daemon sends about 35 */

void object_clear(struct object *object)
{
  for (CK_ULONG i = 0; i < object->count; i++) free(object->attributes[i].value);
  free(object->attributes);
  *object = (struct object){0};
}

const struct attribute *object_find(const struct object *object, CK_ATTRIBUTE_TYPE type)
{
  for (CK_ULONG i = 0; i < object->count; i++) {
    if (object->attributes[i].type == type) return &object->attributes[i];
  }
  return NULL;
}

bool object_is(const struct object *object, CK_ATTRIBUTE_TYPE type)
{
  const struct attribute *found = object_find(object, type);
  return found != NULL && found->kind == KIND_BOOL && found->value[0] == CK_TRUE;
}

static struct attribute *place_for(struct object *object, CK_ATTRIBUTE_TYPE type)
{
  for (CK_ULONG i = 0; i < object->count; i++) {
    if (object->attributes[i].type == type) return &object->attributes[i];
  }
  struct attribute *grown = realloc(object->attributes, (object->count + 1) * sizeof *grown);
  if (grown == NULL) return NULL;
  object->attributes = grown;
  struct attribute *added = &grown[object->count++];
  *added = (struct attribute){.type = type};
  return added;
}

bool object_set(struct object *object, CK_ATTRIBUTE_TYPE type, enum attribute_kind kind, const void *value, CK_ULONG size)
{
  uint8_t *copy = malloc(size == 0 ? 1 : size);
  struct attribute *place = copy == NULL ? NULL : place_for(object, type);
  if (place == NULL) {
    free(copy);
    return false;
  }
  if (size > 0) memcpy(copy, value, size);
  free(place->value);
  *place = (struct attribute){.type = type, .kind = kind, .size = size, .value = copy};
  return true;
}

bool object_set_bool(struct object *object, CK_ATTRIBUTE_TYPE type, bool value)
{
  CK_BBOOL native = value ? CK_TRUE : CK_FALSE;
  return object_set(object, type, KIND_BOOL, &native, sizeof native);
}

bool object_set_number(struct object *object, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
  return object_set(object, type, KIND_NUMBER, &value, sizeof value);
}

bool object_copy(struct object *copy, const struct object *from)
{
  *copy = (struct object){.handle = from->handle, .owner = from->owner};
  for (CK_ULONG i = 0; i < from->count; i++) {
    const struct attribute *attribute = &from->attributes[i];
    if (!object_set(copy, attribute->type, attribute->kind, attribute->value, attribute->size)) {
      object_clear(copy);
      return false;
    }
  }
  return true;
}

/* A wire value in the caller's format: numbers become CK_ULONG. */
static bool set_from_wire(struct object *object, CK_ATTRIBUTE_TYPE type, uint8_t kind, struct bytes value)
{
  CK_ULONG numbers[32];
  struct reader reader = reader_over(value.data, value.size);
  size_t count = value.size / 8;
  switch (kind) {
  case KIND_BYTES:
    return object_set(object, type, KIND_BYTES, value.data, value.size);
  case KIND_BOOL:
    return value.size == 1 && value.data[0] <= 1 && object_set_bool(object, type, value.data[0] == 1);
  case KIND_SENSITIVE:
    return value.size == 0 && object_set(object, type, KIND_SENSITIVE, NULL, 0);
  case KIND_NUMBER:
    return value.size == 8 && object_set_number(object, type, read_u64(&reader));
  case KIND_NUMBERS:
    if (value.size % 8 != 0 || count > sizeof numbers / sizeof numbers[0]) return false;
    for (size_t i = 0; i < count; i++) numbers[i] = read_u64(&reader);
    return object_set(object, type, KIND_NUMBERS, numbers, count * sizeof numbers[0]);
  default:
    return false;
  }
}

bool object_parse(struct object *object, struct reader *reader)
{
  *object = (struct object){.handle = read_u64(reader)};
  uint16_t count = read_u16(reader);
  bool good = object->handle != 0 && (object->handle & HANDLE_LOCAL) == 0 && count <= ATTRIBUTES_MAX;
  for (uint16_t i = 0; good && i < count; i++) {
    uint32_t type = read_u32(reader);
    uint8_t kind = read_u8(reader);
    struct bytes value = read_bytes(reader);
    good = !reader->failed && set_from_wire(object, type, kind, value);
  }
  const struct attribute *class = object_find(object, CKA_CLASS);
  if (!good || reader->failed || class == NULL || class->kind != KIND_NUMBER) {
    object_clear(object);
    return false;
  }
  return true;
}

bool object_matches(const struct object *object, const CK_ATTRIBUTE *wanted, CK_ULONG count)
{
  for (CK_ULONG i = 0; i < count; i++) {
    const struct attribute *found = object_find(object, wanted[i].type);
    if (found == NULL || found->kind == KIND_SENSITIVE || found->size != wanted[i].ulValueLen) return false;
    if (found->size > 0 && memcmp(found->value, wanted[i].pValue, found->size) != 0) return false;
  }
  return true;
}

static CK_RV get_one(const struct object *object, CK_ATTRIBUTE *wanted)
{
  const struct attribute *found = object_find(object, wanted->type);
  if (found == NULL || found->kind == KIND_SENSITIVE) {
    wanted->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return found == NULL ? CKR_ATTRIBUTE_TYPE_INVALID : CKR_ATTRIBUTE_SENSITIVE;
  }
  if (wanted->pValue != NULL && wanted->ulValueLen < found->size) {
    wanted->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  if (wanted->pValue != NULL && found->size > 0) memcpy(wanted->pValue, found->value, found->size);
  wanted->ulValueLen = found->size;
  return CKR_OK;
}

CK_RV object_get(const struct object *object, CK_ATTRIBUTE *wanted, CK_ULONG count)
{
  CK_RV result = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    CK_RV one = get_one(object, &wanted[i]);
    if (one != CKR_OK) result = one;
  }
  return result;
}
