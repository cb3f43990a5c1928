/* The first two frames of a connection (docs/pkcs11-protocol.md, "Hello"). */
#ifndef THSM_HELLO_H
#define THSM_HELLO_H

#include <stdint.h>

enum { HELLO_APPLICATION_SIZE = 16 };

/* A daemon that is silent for this long is taken for dead: it sends a sign of life each second. */
enum { SILENCE_MS = 10000 };

enum greeting { GREETING_WELCOME, GREETING_NONE, GREETING_BUSY, GREETING_INCOMPATIBLE };

enum greeting hello(int fd, const uint8_t application[HELLO_APPLICATION_SIZE], int64_t silence_ms, int64_t deadline);

#endif
