/* One page of memory for resume tickets: locked, not dumped, zero in a forked child. */
#ifndef THSM_SECRET_H
#define THSM_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TICKET_SIZE = 32 };

/* Maps the page once in the life of the process. False when there is no memory. */
bool secret_open(void);
/* The ticket's place for a slot, 0…CONFIG_TOKENS_MAX−1. */
uint8_t *secret_ticket(size_t slot);
/* Erases every ticket. Safe in a forked child and before secret_open(). */
void secret_wipe(void);

#endif
