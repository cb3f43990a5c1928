#include "keys.h"

#include <string.h>

#include "clock.h"
#include "module.h"
#include "rpc.h"

/* How long a search may be held up by a daemon that is not well when there is an older list. */
enum { REFRESH_MS = 2000 };
/* Bytes of one list on the wire, some 70,000 objects: what is on the other side must not fill our memory. */
enum { LIST_MAX = 64 * 1024 * 1024 };

struct refresh {
  uint64_t generation;
  CK_SLOT_ID slot;
  uint8_t known[REVISION_SIZE];    /* what we have, zeros for nothing */
  uint8_t revision[REVISION_SIZE]; /* what the pages so far belong to */
  struct object_list list;
  uint32_t total;
  size_t taken; /* bytes of all pages so far */
  bool unchanged;
};

/* One page of a KEYS reply; CKR_DEVICE_ERROR for bytes that are none. */
static CK_RV take_page(struct refresh *refresh, struct reader *body)
{
  const uint8_t *revision = read_fixed(body, REVISION_SIZE);
  refresh->unchanged = read_u8(body) == 0;
  if (refresh->unchanged) return reader_done(body) ? CKR_OK : rpc_malformed();
  refresh->total = read_u32(body);
  uint16_t count = read_u16(body);
  if (body->failed || (count == 0 && refresh->list.count < refresh->total)) return rpc_malformed();
  /* The directory changed between two pages: begin anew. */
  if (refresh->list.count > 0 && memcmp(refresh->revision, revision, REVISION_SIZE) != 0) {
    list_clear(&refresh->list);
    refresh->taken = 0;
    refresh->total = 1;
    return CKR_OK;
  }
  memcpy(refresh->revision, revision, REVISION_SIZE);
  for (uint16_t i = 0; i < count; i++) {
    struct object object;
    CK_RV result = object_parse(&object, body);
    if (result != CKR_OK) return result == CKR_DEVICE_ERROR ? rpc_malformed() : result;
    if (!list_append(&refresh->list, &object)) {
      object_clear(&object);
      return CKR_HOST_MEMORY;
    }
  }
  return reader_done(body) ? CKR_OK : rpc_malformed();
}

static CK_RV fetch(struct refresh *refresh, const char *label, bool once, unsigned timeout_ms)
{
  int64_t deadline = clock_now() + timeout_ms;
  do {
    int64_t left = deadline - clock_now();
    if (left <= 0) return CKR_DEVICE_ERROR;
    uint8_t buffer[128];
    struct writer body = writer_over(buffer, sizeof buffer);
    write_text(&body, label);
    write_fixed(&body, refresh->known, REVISION_SIZE);
    write_u32(&body, (uint32_t)refresh->list.count);
    struct call call = {.op = OP_KEYS, .body = &body, .timeout_ms = (unsigned)left, .once = once};
    struct reply reply;
    CK_RV result = rpc_call(refresh->generation, &call, &reply);
    refresh->taken += reply.size;
    if (result == CKR_OK) result = refresh->taken <= LIST_MAX ? take_page(refresh, &reply.body) : rpc_malformed();
    reply_free(&reply);
    if (result != CKR_OK) return result;
  } while (!refresh->unchanged && refresh->list.count < refresh->total);
  return refresh->unchanged || list_index(&refresh->list) ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV keys_refresh(uint64_t generation, CK_SLOT_ID slot)
{
  CK_RV result = module_enter_again(generation);
  if (result != CKR_OK) return result;
  struct token *token = &module.tokens[slot];
  struct refresh refresh = {.generation = generation, .slot = slot};
  char label[CONFIG_LABEL_MAX + 1];
  memcpy(label, module.config.tokens[slot], sizeof label);
  bool loaded = token->loaded;
  if (loaded) memcpy(refresh.known, token->revision, REVISION_SIZE);
  unsigned timeout_ms = module.config.timeout_ms;
  if (loaded && timeout_ms > REFRESH_MS) timeout_ms = REFRESH_MS;
  module_leave();

  result = fetch(&refresh, label, loaded, timeout_ms);

  CK_RV entered = module_enter_again(generation);
  if (entered == CKR_OK) {
    if (result == CKR_OK && !refresh.unchanged) {
      struct object_list old = token->keys;
      token->keys = refresh.list;
      refresh.list = old;
      memcpy(token->revision, refresh.revision, REVISION_SIZE);
      token->loaded = true;
    }
    if (loaded && result == CKR_DEVICE_ERROR) result = CKR_OK;
    module_leave();
  }
  list_clear(&refresh.list);
  return entered == CKR_OK ? result : entered;
}
