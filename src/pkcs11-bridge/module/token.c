#include "token.h"

#include <stdlib.h>
#include <string.h>

bool list_append(struct object_list *list, struct object *object)
{
  /* Capacity is the next power of two, so it need not be stored. */
  if ((list->count & (list->count - 1)) == 0) {
    size_t capacity = list->count == 0 ? 1 : 2 * list->count;
    struct object *grown = realloc(list->items, capacity * sizeof *grown);
    if (grown == NULL) return false;
    list->items = grown;
  }
  list->items[list->count++] = *object;
  *object = (struct object){0};
  return true;
}

static int by_handle(const void *left, const void *right, void *items)
{
  CK_OBJECT_HANDLE a = ((const struct object *)items)[*(const size_t *)left].handle;
  CK_OBJECT_HANDLE b = ((const struct object *)items)[*(const size_t *)right].handle;
  return (a > b) - (a < b);
}

bool list_index(struct object_list *list)
{
  size_t *index = realloc(list->by_handle, (list->count + 1) * sizeof *index);
  if (index == NULL) return false;
  list->by_handle = index;
  for (size_t i = 0; i < list->count; i++) index[i] = i;
  if (list->count > 0) qsort_r(index, list->count, sizeof *index, by_handle, list->items);
  return true;
}

const struct object *list_find(const struct object_list *list, CK_OBJECT_HANDLE handle)
{
  size_t low = 0, high = list->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct object *object = &list->items[list->by_handle[middle]];
    if (object->handle == handle) return object;
    if (object->handle < handle) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

void list_clear(struct object_list *list)
{
  for (size_t i = 0; i < list->count; i++) object_clear(&list->items[i]);
  free(list->items);
  free(list->by_handle);
  *list = (struct object_list){0};
}

bool token_shows(const struct token *token, const struct object *object)
{
  return token->logged_in || !object_is(object, CKA_PRIVATE);
}

const struct object *token_find(const struct token *token, CK_OBJECT_HANDLE handle)
{
  return list_find((handle & HANDLE_LOCAL) != 0 ? &token->local : &token->keys, handle);
}

bool token_add_local(struct token *token, struct object *object)
{
  if (!list_append(&token->local, object)) return false;
  if (list_index(&token->local)) return true;
  object_clear(&token->local.items[--token->local.count]);
  return false;
}

/* Keeps the order; indexing anew cannot fail, for the index only shrinks. */
static void remove_at(struct object_list *list, size_t position)
{
  object_clear(&list->items[position]);
  for (size_t i = position + 1; i < list->count; i++) list->items[i - 1] = list->items[i];
  list->count--;
  for (size_t i = 0; i < list->count; i++) list->by_handle[i] = i;
  if (list->count > 0) qsort_r(list->by_handle, list->count, sizeof(size_t), by_handle, list->items);
}

void token_replace_local(struct token *token, CK_OBJECT_HANDLE handle, struct object *changed)
{
  size_t position = (size_t)(list_find(&token->local, handle) - token->local.items);
  object_clear(&token->local.items[position]);
  token->local.items[position] = *changed;
  *changed = (struct object){0};
}

void token_remove_local(struct token *token, CK_OBJECT_HANDLE handle)
{
  const struct object *object = list_find(&token->local, handle);
  if (object != NULL) remove_at(&token->local, (size_t)(object - token->local.items));
}

void token_drop_owned(struct token *token, CK_SESSION_HANDLE owner)
{
  for (size_t i = token->local.count; i > 0; i--) {
    if (owner == 0 || token->local.items[i - 1].owner == owner) remove_at(&token->local, i - 1);
  }
}

void token_note_destroyed(struct token *token, CK_OBJECT_HANDLE handle)
{
  token->destroyed[token->destroyed_next++ % DESTROYED_KEPT] = handle;
}

bool token_take_destroyed(struct token *token, CK_OBJECT_HANDLE handle)
{
  for (size_t i = 0; i < DESTROYED_KEPT && handle != 0; i++) {
    if (token->destroyed[i] != handle) continue;
    token->destroyed[i] = 0;
    return true;
  }
  return false;
}

void token_clear(struct token *token)
{
  list_clear(&token->keys);
  list_clear(&token->local);
  *token = (struct token){0};
}
