#include "wire.h"

#include <string.h>

struct reader reader_over(const uint8_t *data, size_t size)
{
  return (struct reader){.at = data, .left = size, .failed = false};
}

const uint8_t *read_fixed(struct reader *reader, size_t size)
{
  if (reader->failed || size > reader->left) {
    reader->failed = true;
    return NULL;
  }
  const uint8_t *here = reader->at;
  reader->at += size;
  reader->left -= size;
  return here;
}

static uint64_t read_number(struct reader *reader, size_t size)
{
  const uint8_t *bytes = read_fixed(reader, size);
  uint64_t value = 0;
  for (size_t i = 0; bytes != NULL && i < size; i++) value = value << 8 | bytes[i];
  return value;
}

uint8_t read_u8(struct reader *reader) { return (uint8_t)read_number(reader, 1); }
uint16_t read_u16(struct reader *reader) { return (uint16_t)read_number(reader, 2); }
uint32_t read_u32(struct reader *reader) { return (uint32_t)read_number(reader, 4); }
uint64_t read_u64(struct reader *reader) { return read_number(reader, 8); }

struct bytes read_bytes(struct reader *reader)
{
  size_t size = read_u16(reader);
  const uint8_t *data = read_fixed(reader, size);
  return (struct bytes){.data = data, .size = data == NULL ? 0 : size};
}

bool reader_done(const struct reader *reader) { return !reader->failed && reader->left == 0; }

struct writer writer_over(uint8_t *buffer, size_t capacity)
{
  return (struct writer){.start = buffer, .capacity = capacity, .size = 0, .failed = false};
}

void write_fixed(struct writer *writer, const void *data, size_t size)
{
  if (writer->failed || size > writer->capacity - writer->size) {
    writer->failed = true;
    return;
  }
  if (size > 0) memcpy(writer->start + writer->size, data, size);
  writer->size += size;
}

static void write_number(struct writer *writer, uint64_t value, size_t size)
{
  uint8_t bytes[8];
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
  write_fixed(writer, bytes, size);
}

void write_u8(struct writer *writer, uint8_t value) { write_number(writer, value, 1); }
void write_u16(struct writer *writer, uint16_t value) { write_number(writer, value, 2); }
void write_u32(struct writer *writer, uint32_t value) { write_number(writer, value, 4); }
void write_u64(struct writer *writer, uint64_t value) { write_number(writer, value, 8); }

void write_bytes(struct writer *writer, const void *data, size_t size)
{
  if (size > UINT16_MAX) writer->failed = true;
  write_u16(writer, (uint16_t)size);
  write_fixed(writer, data, size);
}

void write_text(struct writer *writer, const char *text) { write_bytes(writer, text, strlen(text)); }
