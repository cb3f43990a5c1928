/* Entering the module for an object. */
#ifndef THSM_ENTER_H
#define THSM_ENTER_H

#include "module.h"

/*
 * The session and the visible object; leaves on any other result than CKR_OK. An unknown handle
 * is looked for once more in a fresh list: it may be a key that was made a moment ago.
 */
CK_RV enter_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key, struct session **session,
                   const struct object **object);

#endif
