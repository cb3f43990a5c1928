#include "module.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "pool.h"
#include "secret.h"

struct module module;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t last_generation;
static atomic_int owner; /* the process whose state this is; 0 before the first call */

/* In a forked child (section 6.6.1): the parent's sessions, sockets and login are not ours. The
   memory behind them is given up, for another thread may have been changing it. */
static void forget_parent(void)
{
  static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  pool_abandon_in_child();
  secret_wipe();
  session_abandon();
  memset(&module, 0, sizeof module);
  lock = fresh;
}

/* Outside of C_Initialize and C_Finalize, too: another thread may have held a lock in a call that failed. */
static void after_fork_in_child(void)
{
  forget_parent();
  atomic_store(&owner, getpid());
}

static void register_fork_handler(void) { (void)pthread_atfork(NULL, NULL, after_fork_in_child); }

/* Some children come from clone() without fork handlers. */
static void check_process(void)
{
  (void)pthread_once(&once, register_fork_handler);
  int here = getpid(), known = atomic_load(&owner);
  if (known == here) return;
  if (known != 0) forget_parent();
  atomic_store(&owner, here);
}

/*
 * A missing or wrong file leaves a module without slots, not a failed C_Initialize: GnuTLS would
 * then drop the module for good, but it asks for the slots again at each use.
 */
static CK_RV load_config(void)
{
  static bool complained;
  char why[256];
  if (!config_load(&module.config, why, sizeof why)) {
    if (!complained) log_line("no slots: %s", why);
    complained = true;
  }
  return pool_open(module.generation, module.config.socket) ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV module_start(void)
{
  check_process();
  (void)pthread_mutex_lock(&lock);
  if (module.generation != 0) return module_leave_with(CKR_CRYPTOKI_ALREADY_INITIALIZED);
  if (!secret_open()) return module_leave_with(CKR_HOST_MEMORY);
  module.generation = ++last_generation;
  CK_RV result = load_config();
  if (result != CKR_OK) module.generation = 0;
  return module_leave_with(result);
}

void module_retry_config(void)
{
  if (module.config.token_count == 0) (void)load_config();
}

CK_RV module_stop(void)
{
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  pool_close();
  session_close_all();
  for (size_t i = 0; i < CONFIG_TOKENS_MAX; i++) token_clear(&module.tokens[i]);
  secret_wipe();
  module.generation = 0;
  return module_leave_with(CKR_OK);
}

CK_RV module_enter(void)
{
  check_process();
  (void)pthread_mutex_lock(&lock);
  return module.generation != 0 ? CKR_OK : module_leave_with(CKR_CRYPTOKI_NOT_INITIALIZED);
}

CK_RV module_enter_again(uint64_t generation)
{
  CK_RV result = module_enter();
  if (result != CKR_OK || module.generation == generation) return result;
  return module_leave_with(CKR_CRYPTOKI_NOT_INITIALIZED);
}

CK_RV module_enter_session(CK_SESSION_HANDLE handle, struct session **session)
{
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  *session = session_find(handle);
  return *session != NULL ? CKR_OK : module_leave_with(CKR_SESSION_HANDLE_INVALID);
}

CK_RV module_enter_slot(CK_SLOT_ID slot)
{
  CK_RV result = module_enter();
  if (result != CKR_OK) return result;
  return slot < module.config.token_count ? CKR_OK : module_leave_with(CKR_SLOT_ID_INVALID);
}

void module_leave(void) { (void)pthread_mutex_unlock(&lock); }

CK_RV module_leave_with(CK_RV result)
{
  module_leave();
  return result;
}

void module_forget_pin_flags(uint64_t generation)
{
  if (module_enter_again(generation) != CKR_OK) return;
  for (size_t i = 0; i < module.config.token_count; i++) module.tokens[i].pin_flags_until = 0;
  module_leave();
}

void module_forget_login(CK_SLOT_ID slot)
{
  module.tokens[slot].logged_in = false;
  module.tokens[slot].code_size = 0;
  explicit_bzero(secret_ticket(slot), TICKET_SIZE);
  explicit_bzero(secret_code(slot), CODE_MAX);
}
