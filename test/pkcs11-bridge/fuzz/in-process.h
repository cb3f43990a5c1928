/*
 * The module without a daemon: the socket, the configuration, the clock and the log are replaced, the rest is the
 * real thing. Requests are answered here, from the fuzzer's bytes or as a good daemon would. Nothing waits.
 */
#ifndef THSM_FUZZ_IN_PROCESS_H
#define THSM_FUZZ_IN_PROCESS_H

#include <stddef.h>
#include <stdint.h>

enum { MODULUS_SIZE = 256, PUBLIC_HANDLE = 0x1000, PRIVATE_HANDLE = 0x1001 };

/*
 * The next replies, one after the other: a byte that says what it is (enum answer), two with the length, the bytes.
 * Beyond the end every reply is good.
 */
enum answer { ANSWER_GOOD, ANSWER_BODY, ANSWER_AFTER_ID, ANSWER_RAW, ANSWER_CODE, ANSWER_BROKEN, ANSWER_SILENCE, ANSWERS };
void answer_from(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
