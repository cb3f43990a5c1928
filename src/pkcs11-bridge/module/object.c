#include "object.h"

#include <stdlib.h>
#include <string.h>

/* Attributes of one object on the wire (the daemon sends about 35), and numbers in one of them. */
enum { ATTRIBUTES_MAX = 128, NUMBERS_MAX = 32 };

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

/* Whether `value` is what its kind says; numbers are copied to `native`, which has room for all of them. */
static bool decode(uint8_t kind, struct bytes value, CK_ULONG *native)
{
  struct reader reader = reader_over(value.data, value.size);
  switch (kind) {
  case KIND_BYTES:
    return true;
  case KIND_BOOL:
    return value.size == 1 && value.data[0] <= 1;
  case KIND_SENSITIVE:
    return value.size == 0;
  case KIND_NUMBER:
  case KIND_NUMBERS:
    if (value.size % 8 != 0 || value.size > NUMBERS_MAX * 8 || (kind == KIND_NUMBER && value.size != 8)) return false;
    for (size_t i = 0; i < value.size / 8; i++) native[i] = read_u64(&reader);
    return true;
  default:
    return false;
  }
}

/* A wire value in the caller's format: numbers become CK_ULONG. */
static CK_RV set_from_wire(struct object *object, CK_ATTRIBUTE_TYPE type, uint8_t kind, struct bytes value)
{
  CK_ULONG numbers[NUMBERS_MAX];
  if (!decode(kind, value, numbers)) return CKR_DEVICE_ERROR;
  bool is_numbers = kind == KIND_NUMBER || kind == KIND_NUMBERS;
  const void *native = is_numbers ? (const void *)numbers : value.data;
  return object_set(object, type, (enum attribute_kind)kind, native, value.size) ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV object_parse(struct object *object, struct reader *reader)
{
  *object = (struct object){.handle = read_u64(reader)};
  uint16_t count = read_u16(reader);
  bool good = object->handle != 0 && (object->handle & HANDLE_LOCAL) == 0 && count <= ATTRIBUTES_MAX;
  CK_RV result = good ? CKR_OK : CKR_DEVICE_ERROR;
  for (uint16_t i = 0; result == CKR_OK && i < count; i++) {
    uint32_t type = read_u32(reader);
    uint8_t kind = read_u8(reader);
    struct bytes value = read_bytes(reader);
    result = reader->failed ? CKR_DEVICE_ERROR : set_from_wire(object, type, kind, value);
  }
  const struct attribute *class = object_find(object, CKA_CLASS);
  if (result == CKR_OK && (class == NULL || class->kind != KIND_NUMBER)) result = CKR_DEVICE_ERROR;
  if (result != CKR_OK) object_clear(object);
  return result;
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
