/**
 * @module The dealer: a key from two safe primes, split into n shares (Shoup 2000, section 3,
 * "The dealer"). Runs in a process of its own that exits afterwards: the arithmetic modulo m is
 * `bigint` and neither constant in time nor erasable.
 */
import { randomBytes } from "node:crypto";
import { bitLength, numberToBytes, randomBelow } from "./bytes.js";
import { isValidThreshold } from "./group-key.js";
import { inverse, isCoprime } from "./inverse.js";
import { KeyShare } from "./key-share.js";
import { Exponentiator } from "./modexp.js";
import { evaluate, randomPolynomial } from "./polynomial.js";
import { hasTopBits, isSafePrime } from "./primes.js";
import { type GroupKey, modulusSizes, publicExponent, type RandomSource } from "./types.js";

/** A fresh key. The shares are secret, one for each party, and to be erased when they are sealed. */
export interface DealtKey {
  readonly group: GroupKey;
  /** Party i's share is at index i-1. */
  readonly shares: readonly KeyShare[];
}

export interface DealOptions {
  /** Safe primes of equal length with their two top bits set (`generateSafePrime`). Secret. */
  readonly p: bigint;
  readonly q: bigint;
  /** n, 1 … 32 */
  readonly parties: number;
  /** k, n/2 < k <= n */
  readonly threshold: number;
  readonly random?: RandomSource;
}

/**
 * Deals d = e^-1 mod m into shares of a polynomial of degree k-1 over Z_m.
 * @throws RangeError for primes that are equal, too close, not safe or not of a supported size, and
 * for a threshold that the scheme does not take.
 */
export function dealKey({ p, q, parties, threshold, random = randomBytes }: DealOptions): DealtKey {
  checkPrimes(p, q);
  if (!isValidThreshold(threshold, parties)) {
    throw new RangeError(`expected n/2 < k <= n, got ${threshold} of ${parties}`);
  }
  const modulus = p * q;
  const modulusBits = bitLength(modulus);
  const modulusLength = modulusBits / 8;
  const order = ((p - 1n) / 2n) * ((q - 1n) / 2n);
  const privateExponent = inverse(publicExponent, order);
  if (privateExponent === undefined) throw new RangeError("public exponent has no inverse");

  const polynomial = randomPolynomial(privateExponent, threshold, order, random);
  const dealt = Array.from({ length: parties }, (_, i) => ({
    index: i + 1,
    secret: evaluate(polynomial, i + 1, order),
  }));
  const verificationBase = randomSquare(modulus, random);
  const exponentiator = new Exponentiator(modulus);
  const verificationKeys = dealt.map(({ secret }) =>
    exponentiator.setExponent(secret).power(verificationBase),
  );
  exponentiator.erase();
  return {
    group: Object.freeze({
      modulus,
      modulusBits,
      modulusLength,
      publicExponent,
      threshold,
      parties,
      verificationBase,
      verificationKeys: Object.freeze(verificationKeys),
    }),
    shares: dealt.map(
      ({ index, secret }) => new KeyShare(index, numberToBytes(secret, modulusLength)),
    ),
  };
}

function checkPrimes(p: bigint, q: bigint): void {
  const bits = modulusSizes.find((size) => hasTopBits(p, size / 2) && hasTopBits(q, size / 2));
  if (bits === undefined) throw new RangeError("primes are not of a supported size");
  // FIPS 186-5, A.1.3 (also refuses p = q): Fermat's method factors moduli of close primes.
  const distance = p > q ? p - q : q - p;
  if (distance >> BigInt(bits / 2 - 100) === 0n) throw new RangeError("primes are too close");
  if (!isSafePrime(p) || !isSafePrime(q)) throw new RangeError("primes are not safe");
}

/** v: a random element of Q_N, which it generates with overwhelming probability. */
function randomSquare(modulus: bigint, random: RandomSource): bigint {
  for (;;) {
    const root = randomBelow(modulus, random);
    if (root > 1n && root < modulus - 1n && isCoprime(root, modulus)) return root ** 2n % modulus;
  }
}
