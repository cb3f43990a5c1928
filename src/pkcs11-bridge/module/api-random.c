/* Random numbers: PKCS#11 v2.40 section 5.16; and the legacy functions of 5.17. */
#include <errno.h>
#include <sys/random.h>

#include "module.h"

static CK_RV check_session(CK_SESSION_HANDLE handle)
{
  struct session *session;
  CK_RV result = module_enter_session(handle, &session);
  return result == CKR_OK ? module_leave_with(CKR_OK) : result;
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE handle, CK_BYTE_PTR seed, CK_ULONG size)
{
  (void)seed;
  (void)size;
  CK_RV result = check_session(handle);
  return result == CKR_OK ? CKR_RANDOM_SEED_NOT_SUPPORTED : result;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG size)
{
  CK_RV result = check_session(handle);
  if (result != CKR_OK) return result;
  if (data == NULL && size > 0) return CKR_ARGUMENTS_BAD;
  for (CK_ULONG done = 0; done < size;) {
    ssize_t got = getrandom(data + done, size - done, 0);
    if (got < 0 && errno != EINTR) return CKR_FUNCTION_FAILED;
    if (got > 0) done += (CK_ULONG)got;
  }
  return CKR_OK;
}

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE handle)
{
  CK_RV result = check_session(handle);
  return result == CKR_OK ? CKR_FUNCTION_NOT_PARALLEL : result;
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE handle) { return C_GetFunctionStatus(handle); }
