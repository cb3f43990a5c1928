/* NULL for every pointer; handles of nothing; a library that was not initialised. */
#include <stdlib.h>

#include "suite.h"

static void expect(const char *function, const char *when, CK_RV got, CK_RV wanted)
{
  if (got == wanted) return;
  fprintf(stderr, "%s %s: 0x%lx, not 0x%lx\n", function, when, got, wanted);
  failures++;
}

static void check_uninitialized(void)
{
  for (size_t i = 0; i < function_count; i++) {
    const struct function *each = &functions[i];
    expect(each->name, "with NULL before C_Initialize", each->with_nulls(0), CKR_CRYPTOKI_NOT_INITIALIZED);
    expect(each->name, "before C_Initialize", each->with_room(1), CKR_CRYPTOKI_NOT_INITIALIZED);
  }
  EXPECT(p11->C_CloseSession(0), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_CloseAllSessions(0), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void check_bad_handles(CK_SESSION_HANDLE session, CK_SESSION_HANDLE closed)
{
  const CK_ULONG bad[] = {0, closed, session + 1, session + (1 << 16), ~0ul, (CK_ULONG)1 << 63};
  for (size_t i = 0; i < function_count; i++) {
    const struct function *each = &functions[i];
    CK_RV wanted = each->scope == SLOT ? CKR_SLOT_ID_INVALID : CKR_SESSION_HANDLE_INVALID;
    for (size_t j = 0; each->scope != LIBRARY && j < sizeof bad / sizeof bad[0]; j++) {
      if (each->scope == SLOT && bad[j] == 0) continue;
      expect(each->name, "with NULL and a bad handle", each->with_nulls(bad[j]), wanted);
      expect(each->name, "with a bad handle", each->with_room(bad[j]), wanted);
    }
  }
  for (size_t j = 0; j < sizeof bad / sizeof bad[0]; j++) EXPECT(p11->C_CloseSession(bad[j]), CKR_SESSION_HANDLE_INVALID);
  EXPECT(p11->C_CloseAllSessions(~0ul), CKR_SLOT_ID_INVALID);
}

/* The entries that nobody may leave NULL: the table lacks five of the 68. */
static void check_list(void)
{
  CK_FUNCTION_LIST *list = NULL;
  EXPECT(p11->C_GetFunctionList(NULL), CKR_ARGUMENTS_BAD);
  EXPECT(p11->C_GetFunctionList(&list), CKR_OK);
  HOLDS(list == p11 && list->version.major == 2 && list->version.minor == 40);
  void *const *entry = (void *const *)&list->C_Initialize;
  for (; entry <= (void *const *)&list->C_WaitForSlotEvent; entry++) HOLDS(*entry != NULL);
  /* 68 entries, less those without a row: Initialize, Finalize, GetFunctionList, CloseSession, CloseAllSessions. */
  HOLDS(function_count == 68 - 5);
}

void check_null_and_handles(void)
{
  check_list();
  check_uninitialized();
  EXPECT(p11->C_Initialize(NULL), CKR_OK);
  EXPECT(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
  CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION), closed = open_session(0);
  EXPECT(p11->C_CloseSession(closed), CKR_OK);
  check_bad_handles(session, closed);
  for (size_t i = 0; i < function_count; i++) {
    const struct function *each = &functions[i];
    CK_ULONG handle = each->scope == SESSION ? session : 0;
    expect(each->name, "with NULL", each->with_nulls(handle), each->nulls);
    expect(each->name, "with room", each->with_room(handle), each->room);
  }
  EXPECT(p11->C_Finalize(NULL), CKR_OK);
  check_uninitialized();
}
