/* Typed reading of the attribute templates that applications pass in. */
#ifndef THSM_TEMPLATE_H
#define THSM_TEMPLATE_H

#include <stdbool.h>

#include "pkcs11.h"

/* Whether every attribute with a length has a value behind it. */
bool template_is_readable(const CK_ATTRIBUTE *template, CK_ULONG count);
/* The first attribute of a type; NULL when there is none. */
const CK_ATTRIBUTE *template_find(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type);
/* False when the value's length does not fit. */
bool attribute_bool(const CK_ATTRIBUTE *attribute, bool *value);
bool attribute_number(const CK_ATTRIBUTE *attribute, CK_ULONG *value);

#endif
