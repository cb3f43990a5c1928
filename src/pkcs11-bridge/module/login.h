/* Calls that need a login, made again after the daemon has forgotten it. */
#ifndef THSM_LOGIN_H
#define THSM_LOGIN_H

#include "rpc.h"

/*
 * rpc_call() for a logged-in slot. A daemon that was restarted is shown the resume ticket; when
 * the ticket is stale (the PIN has changed) the slot is logged out: CKR_USER_NOT_LOGGED_IN.
 */
CK_RV call_as_user(uint64_t generation, CK_SLOT_ID slot, struct call *call, struct reply *reply);
/* Tells the daemon of a logout, without waiting for one that is away. */
void tell_logout(uint64_t generation, const char *label);

#endif
