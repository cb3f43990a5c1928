/* One slot with its token: the login and the objects. Everything here needs module_enter(). */
#ifndef THSM_TOKEN_H
#define THSM_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

#include "object.h"

enum { REVISION_SIZE = 16, DESTROYED_KEPT = 16 };

/* Objects with an index by handle. */
struct object_list {
  struct object *items;
  size_t count;
  size_t *by_handle; /* positions in `items`, ascending by handle */
};

struct token {
  bool logged_in;
  size_t code_size; /* of the recovery code: not 0 while the security officer is logged in */
  bool loaded; /* `keys` holds what the daemon said at `revision` */
  uint8_t revision[REVISION_SIZE];
  struct object_list keys;
  struct object_list local;
  /* Public halves that vanished with their private key: destroying them again is no error. */
  CK_OBJECT_HANDLE destroyed[DESTROYED_KEPT];
  size_t destroyed_next;
  /* What the daemon said of wrong PINs, and until when (clock_now()) that is believed. */
  CK_FLAGS pin_flags;
  int64_t pin_flags_until;
};

bool list_append(struct object_list *list, struct object *object);
/* Orders the index; false without memory. To be called after the last append. */
bool list_index(struct object_list *list);
const struct object *list_find(const struct object_list *list, CK_OBJECT_HANDLE handle);
void list_clear(struct object_list *list);

/* Whether the login state lets the application see the object. */
bool token_shows(const struct token *token, const struct object *object);
/* The object by handle, hidden or not; NULL when there is none. */
const struct object *token_find(const struct token *token, CK_OBJECT_HANDLE handle);
bool token_add_local(struct token *token, struct object *object);
/* Puts another version in the place of an object that is there. */
void token_replace_local(struct token *token, CK_OBJECT_HANDLE handle, struct object *changed);
void token_remove_local(struct token *token, CK_OBJECT_HANDLE handle);
/* Frees the objects of a session, or all of them for owner 0. */
void token_drop_owned(struct token *token, CK_SESSION_HANDLE owner);
void token_note_destroyed(struct token *token, CK_OBJECT_HANDLE handle);
/* Whether the handle was noted; at most once for each note. */
bool token_take_destroyed(struct token *token, CK_OBJECT_HANDLE handle);
void token_clear(struct token *token);

#endif
