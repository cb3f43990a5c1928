/**
 * @module From a message to the block that is encrypted, and back: EME-PKCS1-v1_5 and EME-OAEP (RFC 8017
 * section 7). Taking a padding off is done with masks: no branch, no index and no exit depends on the block
 * before the answer as a whole is known.
 */
import { createHash, createHmac } from "node:crypto";
import { HsmError } from "../errors.js";
import { concatBytes } from "./bytes.js";
import { hashes } from "./digest-info.js";
import { mgf1 } from "./mgf1.js";
import type { Hash, RandomSource } from "./types.js";

export interface OaepOptions {
  /** Of the label. */
  readonly hash: Hash;
  /** Of the mask. */
  readonly maskHash: Hash;
  readonly label: Uint8Array;
}

/** Bytes of PKCS #1 type 2 padding at least: 00 02, eight that are not zero, 00. */
const type2Overhead = 11;

/** 00 02 ‖ random bytes, none zero ‖ 00 ‖ message. @throws HsmError `ERR_INVALID_ARGUMENT` when too long. */
export function encodeType2(length: number, message: Uint8Array, random: RandomSource): Uint8Array {
  requireRoom(message, length - type2Overhead);
  const block = new Uint8Array(length);
  block[1] = 0x02;
  const end = length - message.length - 1;
  for (let i = 2; i < end; i++) block[i] = nonZeroByte(random);
  block.set(message, end + 1);
  return block;
}

/**
 * The message in a type 2 block, or, for a block that is none, a message of random length and content that
 * is always the same for this ciphertext ("implicit rejection", draft-irtf-cfrg-rsa-guidance, as OpenSSL 3.2
 * does it): whoever may ask learns nothing from an answer that is never an error. `secret` must be known to
 * nobody who asks and stay the same for the key.
 */
export function decodeType2(
  block: Uint8Array,
  secret: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  const k = block.length;
  const substitute = substituteFor(k, secret, ciphertext);
  let good = equal(at(block, 0), 0x00) & equal(at(block, 1), 0x02);
  let found = 0;
  let zero = 0;
  for (let i = 2; i < k; i++) {
    const isZero = equal(at(block, i), 0);
    zero = pick(isZero & ~found, i, zero);
    found |= isZero;
  }
  good &= found & ~below(zero, type2Overhead - 1);
  const start = pick(good, zero + 1, k - substitute.length);
  const picked = block.map((byte, i) => pick(good, byte, at(substitute.block, i)));
  const message = Uint8Array.from(picked.subarray(start));
  picked.fill(0);
  return message;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` for a message that is too long. */
export function encodeOaep(
  length: number,
  { hash, maskHash, label }: OaepOptions,
  message: Uint8Array,
  random: RandomSource,
): Uint8Array {
  const size = hashes[hash].length;
  requireRoom(message, length - 2 * size - 2);
  const data = new Uint8Array(length - size - 1);
  data.set(createHash(hash).update(label).digest());
  data[data.length - message.length - 1] = 0x01;
  data.set(message, data.length - message.length);
  const seed = random(size);
  const masked = xor(data, mgf1(maskHash, seed, data.length));
  return concatBytes([Uint8Array.of(0), xor(seed, mgf1(maskHash, masked, size)), masked]);
}

/** The message in an OAEP block; undefined, without a reason, for a block that is none. */
export function decodeOaep(
  block: Uint8Array,
  { hash, maskHash, label }: OaepOptions,
): Uint8Array | undefined {
  const size = hashes[hash].length;
  const split = size + 1;
  // Decided by the key's size alone.
  if (block.length < 2 * size + 2) return undefined;
  const masked = block.subarray(split);
  const seed = xor(block.subarray(1, split), mgf1(maskHash, masked, size));
  const data = xor(masked, mgf1(maskHash, seed, masked.length));
  const expected = createHash(hash).update(label).digest();
  let wrong = at(block, 0);
  for (let i = 0; i < size; i++) wrong |= at(data, i) ^ at(expected, i);
  let good = equal(wrong, 0);
  let found = 0;
  let one = 0;
  for (let i = size; i < data.length; i++) {
    const isOne = equal(at(data, i), 1);
    one = pick(isOne & ~found, i, one);
    found |= isOne;
    // Nothing but zeros may come before the first one.
    good &= found | equal(at(data, i), 0);
  }
  good &= found;
  const message = good === 0 ? undefined : Uint8Array.from(data.subarray(one + 1));
  data.fill(0);
  seed.fill(0);
  return message;
}

/** A length below k - 10 and k bytes to take that many from, from a pseudorandom function of the ciphertext. */
function substituteFor(
  k: number,
  secret: Uint8Array,
  ciphertext: Uint8Array,
): { readonly length: number; readonly block: Uint8Array } {
  const key = createHmac("sha256", secret).update(ciphertext).digest();
  const candidates = expand(key, "length", 256);
  const limit = k - type2Overhead + 1;
  const mask = 2 ** Math.ceil(Math.log2(limit)) - 1;
  let length = 0;
  for (let i = 0; i < candidates.length; i += 2) {
    const candidate = ((at(candidates, i) << 8) | at(candidates, i + 1)) & mask;
    length = pick(below(candidate, limit), candidate, length);
  }
  return { length, block: expand(key, "message", k) };
}

function expand(key: Uint8Array, purpose: string, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  const bits = twoBytes(8 * length);
  for (let i = 0; 32 * i < length; i++) {
    const block = createHmac("sha256", key).update(twoBytes(i)).update(purpose).update(bits);
    blocks.push(block.digest());
  }
  return concatBytes(blocks).subarray(0, length);
}

function twoBytes(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 0xff, value & 0xff);
}

// Truth is all ones, falsehood is 0; numbers are below 2^30.

function equal(one: number, other: number): number {
  const difference = one ^ other;
  return ~((difference | -difference) >> 31);
}

function below(one: number, other: number): number {
  return (one - other) >> 31;
}

function pick(condition: number, one: number, other: number): number {
  return (one & condition) | (other & ~condition);
}

function at(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}

function xor(one: Uint8Array, other: Uint8Array): Uint8Array {
  return one.map((byte, i) => byte ^ at(other, i));
}

function nonZeroByte(random: RandomSource): number {
  for (;;) {
    const byte = at(random(1), 0);
    if (byte !== 0) return byte;
  }
}

function requireRoom(message: Uint8Array, most: number): void {
  if (message.length <= most) return;
  throw new HsmError(
    "ERR_INVALID_ARGUMENT",
    `expected at most ${most} bytes, got ${message.length}`,
  );
}
