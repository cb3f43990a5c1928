#include "template.h"

#include <string.h>

bool template_is_readable(const CK_ATTRIBUTE *template, CK_ULONG count)
{
  if (template == NULL) return count == 0;
  for (CK_ULONG i = 0; i < count; i++) {
    if (template[i].pValue == NULL && template[i].ulValueLen != 0) return false;
  }
  return true;
}

const CK_ATTRIBUTE *template_find(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
  for (CK_ULONG i = 0; i < count; i++) {
    if (template[i].type == type) return &template[i];
  }
  return NULL;
}

bool attribute_bool(const CK_ATTRIBUTE *attribute, bool *value)
{
  if (attribute->ulValueLen != sizeof(CK_BBOOL)) return false;
  *value = *(const CK_BBOOL *)attribute->pValue != CK_FALSE;
  return true;
}

bool attribute_number(const CK_ATTRIBUTE *attribute, CK_ULONG *value)
{
  if (attribute->ulValueLen != sizeof *value) return false;
  memcpy(value, attribute->pValue, sizeof *value); /* callers need not align it */
  return true;
}
