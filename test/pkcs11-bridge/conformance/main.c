/* usage: conformance MODULE SCENARIO [ROUNDS]; exits 0 when every expectation held. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

CK_FUNCTION_LIST *p11;
atomic_int failures;

CK_SESSION_HANDLE open_session(CK_FLAGS more)
{
  CK_SESSION_HANDLE session = 0;
  EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION | more, NULL, NULL, &session), CKR_OK);
  return session;
}

static CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session, CK_ATTRIBUTE_TYPE usage)
{
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE wanted = {usage, &yes, sizeof yes};
  CK_OBJECT_HANDLE found = 0;
  CK_ULONG count = 0;
  EXPECT(p11->C_FindObjectsInit(session, &wanted, 1), CKR_OK);
  EXPECT(p11->C_FindObjects(session, &found, 1, &count), CKR_OK);
  EXPECT(p11->C_FindObjectsFinal(session), CKR_OK);
  HOLDS(count == 1);
  return found;
}

CK_SESSION_HANDLE open_for_user(struct keys *keys)
{
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  EXPECT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4), CKR_OK);
  *keys = (struct keys){find(session, CKA_SIGN), find(session, CKA_VERIFY), find(session, CKA_DECRYPT),
                        find(session, CKA_ENCRYPT)};
  return session;
}

int main(int count, char **arguments)
{
  const char *scenario = count > 2 ? arguments[2] : "";
  int rounds = count > 3 ? atoi(arguments[3]) : 1;
  void *module = dlopen(count > 1 ? arguments[1] : "", RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get = module == NULL ? NULL : (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  if (get == NULL || get(&p11) != CKR_OK) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  if (strcmp(scenario, "handles") == 0) check_null_and_handles();
  else if (strcmp(scenario, "states") == 0) check_states();
  else if (strcmp(scenario, "buffers") == 0) check_buffers();
  else if (strcmp(scenario, "forks") == 0) check_forks();
  else if (strcmp(scenario, "threads") == 0) check_threads(rounds);
  else if (strcmp(scenario, "forks-under-load") == 0) check_forks_under_load(rounds);
  else if (strcmp(scenario, "reconnects") == 0) check_reconnects(rounds);
  else return 2;
  return failures == 0 ? 0 : 1;
}
