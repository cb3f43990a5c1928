#include "hash.h"

#include <string.h>

static const uint32_t k32[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint64_t k64[80] = {
  0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
  0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
  0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
  0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
  0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
  0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
  0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
  0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
  0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
  0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
  0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
  0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
  0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
  0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
  0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
  0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static const uint32_t start_sha1[8] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
static const uint32_t start_sha224[8] = {0xc1059ed8, 0x367cd507, 0x3070dd17, 0xf70e5939,
                                         0xffc00b31, 0x68581511, 0x64f98fa7, 0xbefa4fa4};
static const uint32_t start_sha256[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint64_t start_sha384[8] = {0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17,
                                         0x152fecd8f70e5939, 0x67332667ffc00b31, 0x8eb44a8768581511,
                                         0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4};
static const uint64_t start_sha512[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                         0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                         0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static uint32_t rol32(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }
static uint32_t ror32(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }
static uint64_t ror64(uint64_t x, unsigned n) { return x >> n | x << (64 - n); }

static uint64_t load(const uint8_t *bytes, size_t size)
{
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++) value = value << 8 | bytes[i];
  return value;
}

static void store(uint8_t *bytes, uint64_t value, size_t size)
{
  for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static void sha1_block(uint32_t state[8], const uint8_t *block)
{
  uint32_t w[80];
  for (size_t t = 0; t < 16; t++) w[t] = (uint32_t)load(block + 4 * t, 4);
  for (size_t t = 16; t < 80; t++) w[t] = rol32(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (size_t t = 0; t < 80; t++) {
    uint32_t f = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                 : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                 : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                          : (b ^ c ^ d) + 0xca62c1d6;
    uint32_t next = rol32(a, 5) + f + e + w[t];
    e = d, d = c, c = rol32(b, 30), b = a, a = next;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

static void sha256_block(uint32_t state[8], const uint8_t *block)
{
  uint32_t w[64], s[8];
  for (size_t t = 0; t < 16; t++) w[t] = (uint32_t)load(block + 4 * t, 4);
  for (size_t t = 16; t < 64; t++) {
    uint32_t s0 = ror32(w[t - 15], 7) ^ ror32(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t s1 = ror32(w[t - 2], 17) ^ ror32(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  memcpy(s, state, sizeof s);
  for (size_t t = 0; t < 64; t++) {
    uint32_t t1 = s[7] + (ror32(s[4], 6) ^ ror32(s[4], 11) ^ ror32(s[4], 25)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + k32[t] + w[t];
    uint32_t t2 = (ror32(s[0], 2) ^ ror32(s[0], 13) ^ ror32(s[0], 22)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (size_t i = 0; i < 8; i++) state[i] += s[i];
}

static void sha512_block(uint64_t state[8], const uint8_t *block)
{
  uint64_t w[80], s[8];
  for (size_t t = 0; t < 16; t++) w[t] = load(block + 8 * t, 8);
  for (size_t t = 16; t < 80; t++) {
    uint64_t s0 = ror64(w[t - 15], 1) ^ ror64(w[t - 15], 8) ^ w[t - 15] >> 7;
    uint64_t s1 = ror64(w[t - 2], 19) ^ ror64(w[t - 2], 61) ^ w[t - 2] >> 6;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  memcpy(s, state, sizeof s);
  for (size_t t = 0; t < 80; t++) {
    uint64_t t1 = s[7] + (ror64(s[4], 14) ^ ror64(s[4], 18) ^ ror64(s[4], 41)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + k64[t] + w[t];
    uint64_t t2 = (ror64(s[0], 28) ^ ror64(s[0], 34) ^ ror64(s[0], 39)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (size_t i = 0; i < 8; i++) state[i] += s[i];
}

static size_t block_size(enum hash_kind kind) { return kind >= HASH_SHA384 ? 128 : 64; }

static void compress(struct hash *hash, const uint8_t *block)
{
  if (hash->kind == HASH_SHA1) sha1_block(hash->state32, block);
  else if (hash->kind <= HASH_SHA256) sha256_block(hash->state32, block);
  else sha512_block(hash->state64, block);
}

size_t hash_size(enum hash_kind kind)
{
  static const size_t sizes[] = {0, 20, 28, 32, 48, 64};
  return sizes[kind];
}

void hash_start(struct hash *hash, enum hash_kind kind)
{
  memset(hash, 0, sizeof *hash);
  hash->kind = kind;
  if (kind == HASH_SHA1) memcpy(hash->state32, start_sha1, sizeof start_sha1);
  if (kind == HASH_SHA224) memcpy(hash->state32, start_sha224, sizeof start_sha224);
  if (kind == HASH_SHA256) memcpy(hash->state32, start_sha256, sizeof start_sha256);
  if (kind == HASH_SHA384) memcpy(hash->state64, start_sha384, sizeof start_sha384);
  if (kind == HASH_SHA512) memcpy(hash->state64, start_sha512, sizeof start_sha512);
}

void hash_update(struct hash *hash, const uint8_t *data, size_t size)
{
  size_t block = block_size(hash->kind);
  size_t used = (size_t)(hash->total % block);
  hash->total += size;
  while (size > 0) {
    size_t take = block - used < size ? block - used : size;
    memcpy(hash->block + used, data, take);
    data += take, size -= take, used += take;
    if (used < block) return;
    compress(hash, hash->block);
    used = 0;
  }
}

void hash_finish(struct hash *hash, uint8_t *digest)
{
  static const uint8_t padding[128] = {0x80};
  size_t block = block_size(hash->kind);
  size_t length_size = block / 8; /* FIPS 180-4 section 5.1: 64 or 128 bits of length */
  uint64_t total = hash->total;
  size_t used = (size_t)(total % block);
  size_t fill = (used + 1 + length_size <= block ? block : 2 * block) - used - length_size;
  uint8_t length[16] = {0};
  store(length + length_size - 8, total << 3, 8);
  if (length_size == 16) length[7] = (uint8_t)(total >> 61);
  hash_update(hash, padding, fill);
  hash_update(hash, length, length_size);

  size_t size = hash_size(hash->kind);
  for (size_t i = 0; hash->kind <= HASH_SHA256 && 4 * i < size; i++) {
    store(digest + 4 * i, hash->state32[i], 4);
  }
  for (size_t i = 0; hash->kind >= HASH_SHA384 && 8 * i < size; i++) {
    store(digest + 8 * i, hash->state64[i], 8);
  }
}
