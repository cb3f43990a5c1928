/* The token's key list, kept here and refreshed from the daemon. Not within module_enter(). */
#ifndef THSM_KEYS_H
#define THSM_KEYS_H

#include "pkcs11.h"

#include <stdint.h>

/*
 * Brings the list of a slot up to date. With a list at hand an unreachable daemon is no error:
 * the old list stays, and the wait is short. Without one it waits like any other call.
 */
CK_RV keys_refresh(uint64_t generation, CK_SLOT_ID slot);

#endif
