/**
 * @module Decrypting without showing the plaintext. The parties' shares of c^d lie open on their streams,
 * so c^d itself must be worth nothing: the parties are given c' = c·r^e for a random unit r, what they make
 * of it is m·r, uniform whatever m is, and only who knows r takes it off (Chaum, "Blind signatures for
 * untraceable payments", CRYPTO '82). What depends on m is done without branches and look-ups that depend
 * on it: padding oracles have been built from less than an early exit.
 */
import { HsmError } from "../errors.js";
import { bytesToNumber, numberToBytes, randomBelow } from "./bytes.js";
import { inverse, isCoprime } from "./inverse.js";
import { publicPower } from "./modexp.js";
import type { RandomSource, RsaPublicKey } from "./types.js";

/** A ciphertext that may be shown to anybody, and the way back. */
export interface Blinded {
  /** c', as long as the modulus. Public. */
  readonly ciphertext: Uint8Array;
  /** From c'^d, checked by `combine`, to c^d: the padded plaintext, as long as the modulus. Secret. Once. */
  readonly unblind: (power: Uint8Array) => Uint8Array;
}

/** @throws HsmError `ERR_DECRYPT_FAILED` for what is no ciphertext of this key: 0, N and above, another length. */
export function blind(key: RsaPublicKey, ciphertext: Uint8Array, random: RandomSource): Blinded {
  const { modulus, modulusLength, publicExponent } = key;
  const c = ciphertext.length === modulusLength ? bytesToNumber(ciphertext) : 0n;
  if (c === 0n || c >= modulus || !isCoprime(c, modulus)) {
    throw new HsmError("ERR_DECRYPT_FAILED", "cannot decrypt");
  }
  const [r, inverseOfR] = randomUnit(modulus, random);
  const blinded = (c * publicPower(key, r, publicExponent)) % modulus;
  const factor = numberToBytes((inverseOfR << BigInt(8 * modulusLength)) % modulus, modulusLength);
  return {
    ciphertext: numberToBytes(blinded, modulusLength),
    unblind(power) {
      const product = montgomeryProduct(power, factor, numberToBytes(modulus, modulusLength));
      factor.fill(0);
      return product;
    },
  };
}

function randomUnit(modulus: bigint, random: RandomSource): readonly [bigint, bigint] {
  for (;;) {
    const r = randomBelow(modulus, random);
    const inverseOfR = r > 1n ? inverse(r, modulus) : undefined;
    if (inverseOfR !== undefined) return [r, inverseOfR];
  }
}

/**
 * a·b·256^-k mod N for big-endian bytes of the same length k, a and b below an odd N (Montgomery 1985).
 * `bigint` would show by its time whether the product is short, which is the one bit that Manger's attack
 * needs. Here every step is the same for all values; all stay below 2^18.
 */
function montgomeryProduct(a: Uint8Array, b: Uint8Array, modulus: Uint8Array): Uint8Array {
  const k = modulus.length;
  const [x, y, n] = [littleEndian(a), littleEndian(b), littleEndian(modulus)];
  const minusInverse = negatedInverse(n[0] ?? 0);
  const sum = new Int32Array(k + 1);
  for (let i = 0; i < k; i++) {
    const digit = x[i] ?? 0;
    const quotient = (((sum[0] ?? 0) + digit * (y[0] ?? 0)) * minusInverse) & 0xff;
    let carry = ((sum[0] ?? 0) + digit * (y[0] ?? 0) + quotient * (n[0] ?? 0)) >> 8;
    for (let j = 1; j < k; j++) {
      carry += (sum[j] ?? 0) + digit * (y[j] ?? 0) + quotient * (n[j] ?? 0);
      sum[j - 1] = carry & 0xff;
      carry >>= 8;
    }
    carry += sum[k] ?? 0;
    sum[k - 1] = carry & 0xff;
    sum[k] = carry >> 8;
  }
  const product = lessModulus(sum, n);
  for (const secret of [x, y, sum]) secret.fill(0);
  return product;
}

function littleEndian(bytes: Uint8Array): Int32Array {
  const last = bytes.length - 1;
  return Int32Array.from(bytes, (_, i) => bytes[last - i] ?? 0);
}

/** `sum` or `sum` - N, whichever is in range, big-endian: both are computed, a mask picks. */
function lessModulus(sum: Int32Array, modulus: Int32Array): Uint8Array {
  const k = modulus.length;
  const difference = new Int32Array(k);
  let borrow = 0;
  for (let j = 0; j < k; j++) {
    const digit = (sum[j] ?? 0) - (modulus[j] ?? 0) + borrow;
    difference[j] = digit & 0xff;
    borrow = digit >> 31;
  }
  // All ones when the subtraction went below zero: then the sum was below N.
  const isBelow = ((sum[k] ?? 0) + borrow) >> 31;
  const picked = new Uint8Array(k);
  for (let j = 0; j < k; j++) {
    picked[k - 1 - j] = ((sum[j] ?? 0) & isBelow) | ((difference[j] ?? 0) & ~isBelow);
  }
  difference.fill(0);
  return picked;
}

/** -n^-1 mod 256 for an odd n: each step of Newton's iteration doubles the bits that are right. */
function negatedInverse(n: number): number {
  let inverseOfN = n;
  for (let bits = 3; bits < 8; bits *= 2) inverseOfN = (inverseOfN * (2 - n * inverseOfN)) & 0xff;
  return (256 - inverseOfN) & 0xff;
}
