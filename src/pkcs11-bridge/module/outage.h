/* What is known of outages, so that one of them is waited out once and not by every call. From any thread. */
#ifndef THSM_OUTAGE_H
#define THSM_OUTAGE_H

#include <stdbool.h>

#include "rpc.h"

/* A call of this kind had no answer, and will not wait any longer for one. */
void outage_given_up(enum op op);
/* Whether that was so with the newest of them, not long ago: then another need not wait, too. */
bool outage_is_known(enum op op);
void outage_over(enum op op);

#endif
