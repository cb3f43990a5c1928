/*
 * The module's state and the discipline around it: every API function enters, works on plain
 * memory, and leaves before it talks to the daemon. After that it enters again and looks
 * everything up anew: no pointer into the state survives module_leave().
 */
#ifndef THSM_MODULE_H
#define THSM_MODULE_H

#include "config.h"
#include "pkcs11.h"
#include "session.h"
#include "token.h"

struct module {
  uint64_t generation; /* names one life between C_Initialize and C_Finalize; 0 outside */
  struct config config;
  struct token tokens[CONFIG_TOKENS_MAX];
};

extern struct module module;

/* C_Initialize and C_Finalize (section 5.4) after their argument checks. */
CK_RV module_start(void);
CK_RV module_stop(void);
/* Reads the configuration again while there is none that is good. Within module_enter(). */
void module_retry_config(void);

/* Takes the lock; on any other result than CKR_OK it is not held. */
CK_RV module_enter(void);
CK_RV module_enter_again(uint64_t generation);
CK_RV module_enter_session(CK_SESSION_HANDLE handle, struct session **session);
CK_RV module_enter_slot(CK_SLOT_ID slot);
void module_leave(void);
/* Leaves and passes `result` on. */
CK_RV module_leave_with(CK_RV result);

/* A PIN was tried: what is known of wrong ones is out of date. Not within module_enter(). */
void module_forget_pin_flags(uint64_t generation);
/* Ends the login of a slot, whoever's it is, and erases its secrets. Within module_enter(). */
void module_forget_login(CK_SLOT_ID slot);

#endif
