/* PKCS#11 objects as lists of attributes; for keys on the token they come ready from the daemon. */
#ifndef THSM_OBJECT_H
#define THSM_OBJECT_H

#include <stdbool.h>

#include "pkcs11.h"
#include "wire.h"

/* Bit 63 marks objects that live in this module only; the daemon's handles leave it clear. */
#define HANDLE_LOCAL ((CK_OBJECT_HANDLE)1 << 63)
/* Bit 0 tells the private half of a pair from the public one. */
#define HANDLE_PRIVATE ((CK_OBJECT_HANDLE)1)

enum attribute_kind {
  KIND_BYTES = 0,
  KIND_BOOL = 1,
  KIND_NUMBER = 2,
  KIND_SENSITIVE = 3, /* exists, but no value ever leaves the nodes */
  KIND_NUMBERS = 4
};

/* `value` is in the caller's native format and belongs to the object. */
struct attribute {
  CK_ATTRIBUTE_TYPE type;
  enum attribute_kind kind;
  CK_ULONG size;
  uint8_t *value;
};

struct object {
  CK_OBJECT_HANDLE handle;
  CK_SESSION_HANDLE owner; /* 0 for objects on the token */
  CK_ULONG count;
  struct attribute *attributes;
};

/* One object of a KEYS reply. With CKR_DEVICE_ERROR (bytes that are none) or CKR_HOST_MEMORY nothing is to be cleared. */
CK_RV object_parse(struct object *object, struct reader *reader);
/* Adds an attribute, or replaces it. False without memory. */
bool object_set(struct object *object, CK_ATTRIBUTE_TYPE type, enum attribute_kind kind, const void *value, CK_ULONG size);
bool object_set_bool(struct object *object, CK_ATTRIBUTE_TYPE type, bool value);
bool object_set_number(struct object *object, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
bool object_copy(struct object *copy, const struct object *from);
void object_clear(struct object *object);

const struct attribute *object_find(const struct object *object, CK_ATTRIBUTE_TYPE type);
/* The value of a boolean attribute; false when it is absent. */
bool object_is(const struct object *object, CK_ATTRIBUTE_TYPE type);
bool object_matches(const struct object *object, const CK_ATTRIBUTE *wanted, CK_ULONG count);
/* C_GetAttributeValue, PKCS#11 v2.40 section 5.7. */
CK_RV object_get(const struct object *object, CK_ATTRIBUTE *wanted, CK_ULONG count);

#endif
