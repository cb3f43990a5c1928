/* SHA-1 and SHA-2 (FIPS 180-4), so that long documents are hashed here and only digests travel. */
#ifndef THSM_HASH_H
#define THSM_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The numbers are the protocol's. */
enum hash_kind {
  HASH_NONE = 0,
  HASH_SHA1 = 1,
  HASH_SHA224 = 2,
  HASH_SHA256 = 3,
  HASH_SHA384 = 4,
  HASH_SHA512 = 5
};

enum { HASH_SIZE_MAX = 64 };

struct hash {
  enum hash_kind kind;
  uint64_t total;         /* bytes so far */
  uint32_t state32[8];    /* SHA-1, SHA-224, SHA-256 */
  uint64_t state64[8];    /* SHA-384, SHA-512 */
  uint8_t block[128];
};

/* Bytes of a digest; 0 for HASH_NONE. */
size_t hash_size(enum hash_kind kind);
void hash_start(struct hash *hash, enum hash_kind kind);
void hash_update(struct hash *hash, const uint8_t *data, size_t size);
/* Writes hash_size(kind) bytes. The hash must be started again before its next use. */
void hash_finish(struct hash *hash, uint8_t *digest);

#endif
