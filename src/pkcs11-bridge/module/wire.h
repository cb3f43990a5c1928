/*
 * The protocol's primitive values (docs/pkcs11-protocol.md): big-endian numbers and strings with a
 * two-byte length. Both sides fail softly: after the first overrun every further step fails too,
 * so callers check once, at the end.
 */
#ifndef THSM_WIRE_H
#define THSM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
  const uint8_t *at;
  size_t left;
  bool failed;
};

/* Writes into a caller's fixed buffer; nothing is allocated. */
struct writer {
  uint8_t *start;
  size_t capacity;
  size_t size;
  bool failed;
};

struct bytes {
  const uint8_t *data;
  size_t size;
};

struct reader reader_over(const uint8_t *data, size_t size);
uint8_t read_u8(struct reader *reader);
uint16_t read_u16(struct reader *reader);
uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
/* Exactly `size` bytes, as a view into the frame; NULL after an overrun. */
const uint8_t *read_fixed(struct reader *reader, size_t size);
struct bytes read_bytes(struct reader *reader);
/* Whether everything was there and nothing is left. */
bool reader_done(const struct reader *reader);

struct writer writer_over(uint8_t *buffer, size_t capacity);
void write_u8(struct writer *writer, uint8_t value);
void write_u16(struct writer *writer, uint16_t value);
void write_u32(struct writer *writer, uint32_t value);
void write_u64(struct writer *writer, uint64_t value);
void write_fixed(struct writer *writer, const void *data, size_t size);
void write_bytes(struct writer *writer, const void *data, size_t size);
void write_text(struct writer *writer, const char *text);

#endif
