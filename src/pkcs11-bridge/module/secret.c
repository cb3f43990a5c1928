#include "secret.h"

#include <string.h>
#include <sys/mman.h>

#include "config.h"

enum { TICKETS_SIZE = CONFIG_TOKENS_MAX * TICKET_SIZE, AREA_SIZE = TICKETS_SIZE + CONFIG_TOKENS_MAX * CODE_MAX };

static uint8_t *area;

bool secret_open(void)
{
  if (area != NULL) return true;
  void *memory = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  /* Best effort, all three: a small RLIMIT_MEMLOCK must not stop a name server from signing. */
  (void)mlock(memory, AREA_SIZE);
  (void)madvise(memory, AREA_SIZE, MADV_DONTDUMP);
  (void)madvise(memory, AREA_SIZE, MADV_WIPEONFORK);
  area = memory;
  return true;
}

uint8_t *secret_ticket(size_t slot) { return area + slot * TICKET_SIZE; }

uint8_t *secret_code(size_t slot) { return area + TICKETS_SIZE + slot * CODE_MAX; }

void secret_wipe(void)
{
  if (area != NULL) explicit_bzero(area, AREA_SIZE);
}
