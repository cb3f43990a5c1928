#include "secret.h"

#include <string.h>
#include <sys/mman.h>

#include "config.h"

enum { PAGE_SIZE = CONFIG_TOKENS_MAX * TICKET_SIZE };

static uint8_t *page;

bool secret_open(void)
{
  if (page != NULL) return true;
  void *memory = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  /* Best effort, all three: a small RLIMIT_MEMLOCK must not stop a name server from signing. */
  (void)mlock(memory, PAGE_SIZE);
  (void)madvise(memory, PAGE_SIZE, MADV_DONTDUMP);
  (void)madvise(memory, PAGE_SIZE, MADV_WIPEONFORK);
  page = memory;
  return true;
}

uint8_t *secret_ticket(size_t slot) { return page + slot * TICKET_SIZE; }

void secret_wipe(void)
{
  if (page != NULL) explicit_bzero(page, PAGE_SIZE);
}
