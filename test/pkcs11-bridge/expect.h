/* What the C test programs share: the function list under test, and expectations that are counted. */
#ifndef THSM_TEST_EXPECT_H
#define THSM_TEST_EXPECT_H

#include <stdatomic.h>
#include <stdio.h>

#include <p11-kit/pkcs11.h>

extern CK_FUNCTION_LIST *p11;
extern atomic_int failures;

#define EXPECT(call, wanted)                                                               \
  do {                                                                                     \
    CK_RV got_ = (call);                                                                   \
    if (got_ != (CK_RV)(wanted)) {                                                         \
      fprintf(stderr, "%s:%d: %s: 0x%lx, not 0x%lx\n", __FILE__, __LINE__, #call, got_, (CK_RV)(wanted)); \
      failures++;                                                                          \
    }                                                                                      \
  } while (0)
#define HOLDS(condition)                                                         \
  do {                                                                           \
    if (!(condition)) {                                                          \
      fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition);        \
      failures++;                                                                \
    }                                                                            \
  } while (0)

#endif
