/* Memory for resume tickets and recovery codes: locked, not dumped, zero in a forked child. */
#ifndef THSM_SECRET_H
#define THSM_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TICKET_SIZE = 32, CODE_MAX = 64 };

/* Maps it once in the life of the process. False when there is no memory. */
bool secret_open(void);
/* The ticket's place for a slot, 0…CONFIG_TOKENS_MAX−1. */
uint8_t *secret_ticket(size_t slot);
/* The same for a recovery code of at most CODE_MAX bytes. */
uint8_t *secret_code(size_t slot);
/* Erases every secret. Safe in a forked child and before secret_open(). */
void secret_wipe(void);

#endif
