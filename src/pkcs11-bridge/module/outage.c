#include "outage.h"

#include <stdatomic.h>

#include "clock.h"

/* Nobody looks while nobody calls: after so long, it may have been over in between. */
enum { KNOWN_MS = 5 * 60 * 1000 };

/* When it was given up, by kind of call: a daemon without a cluster answers some and not others. */
static _Atomic int64_t given_up_at[OP_COUNT];

void outage_given_up(enum op op) { atomic_store(&given_up_at[op], clock_now()); }

bool outage_is_known(enum op op)
{
  int64_t at = atomic_load(&given_up_at[op]);
  return at != 0 && clock_now() - at < KNOWN_MS;
}

void outage_over(enum op op) { atomic_store(&given_up_at[op], 0); }
