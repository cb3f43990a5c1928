/**
 * @module base^exponent mod N: the one place that picks the arithmetic.
 *
 * Secret and long exponents go through OpenSSL's constant-time Montgomery exponentiation, which Node
 * reaches without a native addon as a Diffie-Hellman computation over the "prime" N. Short
 * public exponents go through OpenSSL's RSA public operation. Both are checked once against
 * `bigint-mod-arith`, which does the work where OpenSSL refuses (FIPS builds): 10 times slower, and
 * *not* in constant time.
 */
import { modPow } from "bigint-mod-arith";
import {
  constants,
  createDiffieHellman,
  createPublicKey,
  publicEncrypt,
  type DiffieHellman,
  type KeyObject,
} from "node:crypto";
import { bytesToNumber, numberToBytes } from "./bytes.js";

/**
 * Exponentiation modulo one odd N with an exponent that stays for many bases. Its making tests N for
 * primality, about the time of one exponentiation: keep it. Holds a secret when the exponent is one.
 */
export class Exponentiator {
  readonly #modulus: bigint;
  readonly #length: number;
  readonly #dh: DiffieHellman | undefined;
  /** The exponent where OpenSSL is not used. */
  #exponent = 1n;

  constructor(modulus: bigint, openssl: boolean = selfCheck().openssl) {
    this.#modulus = modulus;
    this.#length = Math.ceil(modulus.toString(16).length / 2);
    if (openssl) {
      this.#dh = createDiffieHellman(numberToBytes(modulus, this.#length), Uint8Array.of(2));
    }
  }

  /** Any `exponent` >= 0, also longer than N. What was there before is overwritten by OpenSSL. */
  setExponent(exponent: bigint): this {
    if (this.#dh === undefined) {
      this.#exponent = exponent;
    } else {
      const bytes = numberToBytes(exponent, Math.ceil(exponent.toString(16).length / 2));
      this.#dh.setPrivateKey(bytes);
      bytes.fill(0);
    }
    return this;
  }

  /** base^exponent mod N, 0 <= base < N. */
  power(base: bigint): bigint {
    if (this.#dh === undefined) return modPow(base, this.#exponent, this.#modulus);
    try {
      return bytesToNumber(this.#dh.computeSecret(numberToBytes(base, this.#length)));
    } catch {
      // As a key agreement this refuses the bases 0, 1, N-1 and the results 1, N-1; they are rare
      // (our callers refuse such bases) and legal numbers here.
      return modPow(base, bytesToNumber(this.#dh.getPrivateKey()), this.#modulus);
    }
  }

  /** Forgets the exponent; OpenSSL clears its copy. */
  erase(): void {
    this.setExponent(1n);
  }
}

/** What belongs to one N and is worth keeping: making each costs more than using it. */
interface PublicArithmetic {
  /** OpenSSL's RSA "keys" by exponent. */
  readonly rsa: Map<bigint, KeyObject>;
  readonly long: Exponentiator;
}
const arithmetic = new WeakMap<Modulus, PublicArithmetic>();
const maxRsaKeys = 64;

interface Modulus {
  readonly modulus: bigint;
  readonly modulusLength: number;
}

/**
 * base^exponent mod N for a public exponent >= 1; 0 <= base < N. `key` identifies the cache entry,
 * so it must not change. Fast for odd exponents of up to 64 bits.
 */
export function publicPower(
  key: Modulus,
  base: bigint,
  exponent: bigint,
  openssl: boolean = selfCheck().openssl,
): bigint {
  if (exponent === 1n) return base;
  if (!openssl) return modPow(base, exponent, key.modulus);
  let cached = arithmetic.get(key);
  if (cached === undefined) {
    cached = { rsa: new Map(), long: new Exponentiator(key.modulus, true) };
    arithmetic.set(key, cached);
  }
  // OpenSSL refuses longer RSA exponents for large moduli, and even ones are no RSA exponents.
  if (exponent % 2n === 0n || exponent >> 64n > 0n) {
    return cached.long.setExponent(exponent).power(base);
  }
  let rsa = cached.rsa.get(exponent);
  if (rsa === undefined) {
    if (cached.rsa.size >= maxRsaKeys) cached.rsa.clear();
    rsa = rsaKey(key, exponent);
    cached.rsa.set(exponent, rsa);
  }
  const block = numberToBytes(base, key.modulusLength);
  return bytesToNumber(publicEncrypt({ key: rsa, padding: constants.RSA_NO_PADDING }, block));
}

function rsaKey({ modulus, modulusLength }: Modulus, exponent: bigint): KeyObject {
  const n = Buffer.from(numberToBytes(modulus, modulusLength)).toString("base64url");
  const e = Buffer.from(numberToBytes(exponent, 8)).toString("base64url");
  return createPublicKey({ key: { kty: "RSA", n, e }, format: "jwk" });
}

/**
 * Π base^exponent mod N for small exponents >= 0, all squarings shared (Straus). Public values only.
 */
export function productOfPowers(
  factors: readonly (readonly [base: bigint, exponent: bigint])[],
  modulus: bigint,
): bigint {
  const bits = factors.map(([, exponent]) => exponent.toString(2));
  const longest = Math.max(0, ...bits.map((digits) => digits.length));
  let product: bigint | undefined;
  for (let position = longest; position > 0; position--) {
    if (product !== undefined) product = (product * product) % modulus;
    for (const [i, [base]] of factors.entries()) {
      if (bits[i]?.at(-position) !== "1") continue;
      product = product === undefined ? base : (product * base) % modulus;
    }
  }
  return product ?? 1n;
}

let checked: { openssl: boolean } | undefined;

/**
 * Whether OpenSSL's exponentiations work here and agree with `bigint-mod-arith`. Computed once;
 * `openssl: false` means that signing is slow and not in constant time, which is worth a warning.
 */
export function selfCheck(): { openssl: boolean } {
  checked ??= { openssl: agreesWithBigInt() };
  return checked;
}

/** The self-check itself; `make` stands for the constructor of an OpenSSL exponentiation. */
export function agreesWithBigInt(
  make: (modulus: bigint) => Exponentiator = (modulus) => new Exponentiator(modulus, true),
): boolean {
  // Any odd composite will do: a product of two Mersenne primes, and an exponent longer than it.
  const key = { modulus: (2n ** 521n - 1n) * (2n ** 607n - 1n), modulusLength: 141 };
  const base = key.modulus / 3n;
  const [long, short] = [key.modulus << 7n, 65537n];
  try {
    return (
      make(key.modulus).setExponent(long).power(base) === modPow(base, long, key.modulus) &&
      publicPower(key, base, short, true) === modPow(base, short, key.modulus)
    );
  } catch {
    return false;
  }
}
