#include "session.h"

#include <stdlib.h>

enum { SESSIONS_MAX = 1 << 16, INDEX_BITS = 16 };

/* A handle is serial << 16 | index: found at once, and stale ones are told apart. */
static struct session **table;
static size_t capacity;
static CK_SESSION_HANDLE serial;

static bool grow(void)
{
  size_t wanted = capacity == 0 ? 64 : 2 * capacity;
  struct session **grown = realloc(table, wanted * sizeof *grown);
  if (grown == NULL) return false;
  for (size_t i = capacity; i < wanted; i++) grown[i] = NULL;
  table = grown;
  capacity = wanted;
  return true;
}

struct session *session_open(CK_SLOT_ID slot, bool writable, CK_RV *result)
{
  size_t index = 0;
  while (index < capacity && table[index] != NULL) index++;
  if (index == SESSIONS_MAX) {
    *result = CKR_SESSION_COUNT;
    return NULL;
  }
  *result = CKR_HOST_MEMORY;
  if (index == capacity && !grow()) return NULL;
  struct session *session = calloc(1, sizeof *session);
  if (session == NULL) return NULL;
  session->handle = ++serial << INDEX_BITS | index;
  session->slot = slot;
  session->writable = writable;
  table[index] = session;
  *result = CKR_OK;
  return session;
}

struct session *session_find(CK_SESSION_HANDLE handle)
{
  size_t index = handle & (SESSIONS_MAX - 1);
  if (index >= capacity || table[index] == NULL || table[index]->handle != handle) return NULL;
  return table[index];
}

void session_close(struct session *session)
{
  table[session->handle & (SESSIONS_MAX - 1)] = NULL;
  free(session->find.handles);
  free(session);
}

struct session *session_next(CK_SLOT_ID slot, const struct session *after)
{
  size_t index = after == NULL ? 0 : (after->handle & (SESSIONS_MAX - 1)) + 1;
  for (; index < capacity; index++) {
    if (table[index] != NULL && table[index]->slot == slot) return table[index];
  }
  return NULL;
}

void session_count(CK_SLOT_ID slot, CK_ULONG *open, CK_ULONG *writable)
{
  *open = *writable = 0;
  for (struct session *each = NULL; (each = session_next(slot, each)) != NULL;) {
    *open += 1;
    if (each->writable) *writable += 1;
  }
}

void session_close_all(void)
{
  for (size_t i = 0; i < capacity; i++) {
    if (table[i] != NULL) session_close(table[i]);
  }
  free(table);
  session_abandon();
}

void session_abandon(void)
{
  table = NULL;
  capacity = 0;
}
