/* Time that only moves forward, in milliseconds. */
#ifndef THSM_CLOCK_H
#define THSM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_now(void)
{
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
