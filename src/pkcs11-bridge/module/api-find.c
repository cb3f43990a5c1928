/* C_FindObjects*: PKCS#11 v2.40 section 5.7. */
#include <stdlib.h>

#include "keys.h"
#include "module.h"
#include "template.h"

static void collect(struct find *find, const struct token *token, const struct object_list *list,
                    const CK_ATTRIBUTE *template, CK_ULONG count)
{
  for (size_t i = 0; i < list->count; i++) {
    const struct object *object = &list->items[i];
    if (token_shows(token, object) && object_matches(object, template, count)) {
      find->handles[find->count++] = object->handle;
    }
  }
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (!template_is_readable(template, count)) return module_leave_with(CKR_ARGUMENTS_BAD);
  if (session->find.active) return module_leave_with(CKR_OPERATION_ACTIVE);
  CK_SLOT_ID slot = session->slot;
  uint64_t generation = module.generation;
  module_leave();

  result = keys_refresh(generation, slot);
  if (result != CKR_OK) return result;

  result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (session->find.active) return module_leave_with(CKR_OPERATION_ACTIVE);
  const struct token *token = &module.tokens[slot];
  CK_OBJECT_HANDLE *handles = calloc(token->keys.count + token->local.count + 1, sizeof *handles);
  if (handles == NULL) return module_leave_with(CKR_HOST_MEMORY);
  session->find = (struct find){.active = true, .handles = handles, .count = 0, .next = 0};
  collect(&session->find, token, &token->keys, template, count);
  collect(&session->find, token, &token->local, template, count);
  return module_leave_with(CKR_OK);
}

CK_RV C_FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (count == NULL || (objects == NULL && max > 0)) return module_leave_with(CKR_ARGUMENTS_BAD);
  struct find *find = &session->find;
  if (!find->active) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  for (*count = 0; *count < max && find->next < find->count; *count += 1) {
    objects[*count] = find->handles[find->next++];
  }
  return module_leave_with(CKR_OK);
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE handle)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  if (result != CKR_OK) return result;
  if (!session->find.active) return module_leave_with(CKR_OPERATION_NOT_INITIALIZED);
  free(session->find.handles);
  session->find = (struct find){0};
  return module_leave_with(CKR_OK);
}
