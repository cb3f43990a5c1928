/** @module Safe primes from OpenSSL: p = 2p'+1 with p' prime (Shoup 2000, section 3). */
import { checkPrimeSync, generatePrime } from "node:crypto";

/**
 * A random safe prime of exactly `bits` bits with its two top bits set, so that a product of two is
 * exactly 2·`bits` long. Found on libuv's thread pool: seconds for 1024 bits, minutes for 2048.
 * @returns secret until its key is dealt, and then to be forgotten.
 */
export async function generateSafePrime(bits: number): Promise<bigint> {
  for (;;) {
    const prime = await new Promise<bigint>((resolve, reject) => {
      generatePrime(bits, { safe: true, bigint: true }, (error, found) => {
        if (error) reject(error);
        else resolve(found);
      });
    });
    // OpenSSL sets both bits today (measured, and in bn_prime.c), but documents no such thing.
    if (hasTopBits(prime, bits)) return prime;
  }
}

/** Whether both p and (p-1)/2 are prime, with an error probability below 2^-128. */
export function isSafePrime(value: bigint): boolean {
  return value > 5n && checkPrimeSync(value) && checkPrimeSync((value - 1n) / 2n);
}

/** Whether `value` has exactly `bits` bits, the first two of them 1. */
export function hasTopBits(value: bigint, bits: number): boolean {
  return value >> BigInt(bits - 2) === 3n;
}
