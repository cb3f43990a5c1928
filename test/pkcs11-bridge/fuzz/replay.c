/*
 * usage: replay MUTATIONS FILE…: each file as it is, and that many changed copies of it, always the same ones. A
 * stand-in for libFuzzer where there is no clang.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "in-process.h"

enum { INPUT_MAX = 4096 };

static uint64_t state = 0x9e3779b97f4a7c15;

static uint32_t draw(uint32_t below)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

/* A few of: another byte, a bit, bytes gone, bytes from elsewhere in the same input once more. */
static size_t mutate(uint8_t *data, size_t size)
{
  for (uint32_t changes = 1 + draw(6); changes > 0 && size > 0; changes--) {
    uint32_t at = draw((uint32_t)size), from = draw((uint32_t)size), count = 1 + draw(16);
    switch (draw(4)) {
    case 0: data[at] = (uint8_t)draw(256); break;
    case 1: data[at] ^= (uint8_t)(1u << draw(8)); break;
    case 2:
      if (count > size - at) count = (uint32_t)size - at;
      memmove(data + at, data + at + count, size - at - count);
      size -= count;
      break;
    default:
      if (count > size - from) count = (uint32_t)size - from;
      if (size + count > INPUT_MAX) break;
      uint8_t copy[16];
      memcpy(copy, data + from, count);
      memmove(data + at + count, data + at, size - at);
      memcpy(data + at, copy, count);
      size += count;
    }
  }
  return size;
}

int main(int count, char **arguments)
{
  long mutations = count > 1 ? atol(arguments[1]) : 0, executions = 0;
  for (int i = 2; i < count; i++) {
    static uint8_t original[INPUT_MAX], changed[INPUT_MAX];
    FILE *file = fopen(arguments[i], "rb");
    if (file == NULL) return 2;
    size_t size = fread(original, 1, sizeof original, file);
    (void)fclose(file);
    for (long j = 0; j <= mutations; j++, executions++) {
      memcpy(changed, original, size);
      size_t changed_size = j == 0 ? size : mutate(changed, size);
      /* Exactly as long as it is, so that the sanitizer sees a read beyond. */
      uint8_t *input = malloc(changed_size == 0 ? 1 : changed_size);
      if (input == NULL) return 2;
      memcpy(input, changed, changed_size);
      (void)LLVMFuzzerTestOneInput(input, changed_size);
      free(input);
    }
  }
  (void)printf("%ld executions\n", executions);
  return executions > 0 ? 0 : 2;
}
