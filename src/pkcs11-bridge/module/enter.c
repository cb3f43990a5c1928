#include "enter.h"

#include "keys.h"

CK_RV enter_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, struct session **session,
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
