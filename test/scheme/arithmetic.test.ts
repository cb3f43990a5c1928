import { modInv, modPow } from "bigint-mod-arith";
import { expect } from "chai";
import fc from "fast-check";
import { bytesToNumber, numberToBytes, randomBelow, uint32 } from "../../src/scheme/bytes.js";
import { inverse, isCoprime } from "../../src/scheme/inverse.js";
import {
  agreesWithBigInt,
  Exponentiator,
  productOfPowers,
  publicPower,
  selfCheck,
} from "../../src/scheme/modexp.js";
import {
  evaluate,
  factorial,
  interpolation,
  randomPolynomial,
} from "../../src/scheme/polynomial.js";
import { hasTopBits, isSafePrime } from "../../src/scheme/primes.js";
import { generateSafePrime } from "../../src/scheme/index.js";
import { fixedRandom, testKey, testPrimes } from "../support/keys.js";
import { numRuns } from "./support.js";

const group = testKey(1024).group;
const { modulus } = group;
const below = fc.bigInt({ min: 0n, max: modulus - 1n });

describe("scheme/bytes", () => {
  it("gives back what it encoded, in exactly the length asked for", () => {
    fc.assert(
      fc.property(below, (value) => {
        const bytes = numberToBytes(value, 130);
        expect(bytes).to.have.length(130);
        expect(bytesToNumber(bytes)).to.equal(value);
      }),
      { numRuns },
    );
  });

  it("reads no bytes as 0", () => {
    expect(bytesToNumber(new Uint8Array())).to.equal(0n);
    expect(numberToBytes(0n, 2)).to.deep.equal(Uint8Array.of(0, 0));
  });

  it("reads a view at its own offset", () => {
    expect(bytesToNumber(Uint8Array.of(9, 1, 2, 9).subarray(1, 3))).to.equal(258n);
  });

  it("refuses numbers that do not fit", () => {
    expect(() => numberToBytes(256n, 1)).to.throw(RangeError);
    expect(() => numberToBytes(-1n, 1)).to.throw(RangeError);
    expect(() => numberToBytes(-100n, 1)).to.throw(RangeError);
    expect(() => uint32(-1)).to.throw(RangeError);
    expect(() => uint32(1.5 + 2 ** 32)).to.throw(RangeError);
  });

  it("draws every number below a limit, and none at it", () => {
    const random = fixedRandom("below");
    const seen = new Set(Array.from({ length: 300 }, () => randomBelow(5n, random)));
    expect([...seen].toSorted()).to.deep.equal([0n, 1n, 2n, 3n, 4n]);
  });

  it("does not hang on a broken source of randomness", () => {
    expect(() => randomBelow(5n, (length) => new Uint8Array(length).fill(255))).to.throw("broken");
  });
});

describe("scheme/inverse", () => {
  it("agrees with extended Euclid", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 2n, max: 2n ** 600n }),
        fc.bigInt({ min: 1n, max: 2n ** 600n }),
        (m, value) => {
          const reduced = value % m;
          let expected: bigint | undefined;
          try {
            expected = modInv(reduced, m);
          } catch {
            expected = undefined;
          }
          expect(inverse(reduced, m)).to.equal(expected);
          expect(isCoprime(reduced, m)).to.equal(expected !== undefined);
        },
      ),
      { numRuns: 50 * numRuns },
    );
  });

  it("inverts modulo every size of modulus", () => {
    for (const bits of [1024, 2048, 3072, 4096]) {
      const { p, q } = testPrimes(bits);
      const random = fixedRandom(`inverse/${bits}`);
      for (let i = 0; i < 20; i++) {
        const value = randomBelow(p * q, random);
        expect((value * (inverse(value, p * q) ?? 0n)) % (p * q)).to.equal(1n);
      }
      expect(inverse(p, p * q)).to.equal(undefined);
      expect(isCoprime(3n * q, p * q)).to.equal(false);
    }
  });

  it("takes quotients far beyond a word", () => {
    for (const value of [0n, 1n, 2n, modulus - 1n, modulus >> 1n, modulus >> 60n, 1n << 1000n]) {
      const found = inverse(value, modulus);
      if (value === 0n) expect(found).to.equal(undefined);
      else expect((value * (found ?? 0n)) % modulus).to.equal(1n);
    }
  });
});

describe("scheme/modexp", () => {
  const edges = [0n, 1n, 2n, modulus - 1n];
  const exponent = fc.bigInt({ min: 1n, max: 2n ** 300n });

  for (const openssl of [true, false]) {
    const way = openssl ? "OpenSSL" : "bigint";

    it(`raises to secret exponents, also where a key agreement would refuse (${way})`, () => {
      const exponentiator = new Exponentiator(modulus, openssl);
      fc.assert(
        fc.property(fc.oneof(below, fc.constantFrom(...edges)), exponent, (base, power) => {
          exponentiator.setExponent(power);
          expect(exponentiator.power(base)).to.equal(modPow(base, power, modulus));
        }),
        { numRuns },
      );
      exponentiator.setExponent(0n);
      expect(exponentiator.power(2n)).to.equal(1n);
      exponentiator.setExponent(modulus ** 2n);
      expect(exponentiator.power(3n)).to.equal(modPow(3n, modulus ** 2n, modulus));
      exponentiator.erase();
      expect(exponentiator.power(5n)).to.equal(5n);
    });

    it(`raises to public exponents, short and long, odd and even (${way})`, () => {
      const powers = [1n, 2n, 3n, 65537n, 2n ** 64n - 1n, 2n ** 64n + 1n, 480n];
      for (const base of [...edges, 12345n]) {
        for (const power of powers) {
          const expected = modPow(base, power, modulus);
          expect(publicPower(group, base, power, openssl)).to.equal(expected);
        }
      }
    });
  }

  it("keeps a bounded number of exponents", () => {
    for (let power = 3n; power < 300n; power += 2n) {
      expect(publicPower(group, 2n, power)).to.equal(modPow(2n, power, modulus));
    }
  });

  it("multiplies powers", () => {
    const small = fc.bigInt({ min: 0n, max: 100n });
    fc.assert(
      fc.property(fc.array(fc.tuple(below, small), { maxLength: 5 }), (factors) => {
        const expected = factors.reduce(
          (product, [base, power]) => (product * modPow(base, power, modulus)) % modulus,
          1n,
        );
        expect(productOfPowers(factors, modulus)).to.equal(expected);
      }),
      { numRuns },
    );
  });

  it("trusts OpenSSL only when it is there and right", () => {
    expect(selfCheck()).to.deep.equal({ openssl: agreesWithBigInt() });
    expect(selfCheck()).to.equal(selfCheck());
    const missing = (): Exponentiator => {
      throw new Error("disabled for FIPS");
    };
    expect(agreesWithBigInt(missing)).to.equal(false);
    const wrong = new (class extends Exponentiator {
      override power(base: bigint): bigint {
        return super.power(base) + 1n;
      }
    })(modulus);
    expect(agreesWithBigInt(() => wrong)).to.equal(false);
  });
});

describe("scheme/polynomial", () => {
  const order = 2n ** 127n - 1n;

  it("interpolates every value from any k others, with a denominator that divides n!", () => {
    const cases = fc.integer({ min: 1, max: 12 }).chain((parties) =>
      fc.record({
        parties: fc.constant(parties),
        quorum: fc.uniqueArray(fc.integer({ min: 1, max: parties }), { minLength: 1 }),
        at: fc.integer({ min: 0, max: parties }),
      }),
    );
    fc.assert(
      fc.property(cases, ({ parties, quorum, at }) => {
        const f = randomPolynomial(42n, quorum.length, order, fixedRandom("f"));
        const { denominator, coefficients } = interpolation(quorum, at);
        expect(factorial(parties) % denominator).to.equal(0n);
        const sum = quorum.reduce(
          (total, i, position) => total + (coefficients[position] ?? 0n) * evaluate(f, i, order),
          0n,
        );
        expect((sum - denominator * evaluate(f, at, order)) % order).to.equal(0n);
      }),
      { numRuns: 5 * numRuns },
    );
  });

  it("starts at the secret and has k coefficients", () => {
    const f = randomPolynomial(42n, 3, order, fixedRandom("f"));
    expect(f).to.have.length(3);
    expect(evaluate(f, 0, order)).to.equal(42n);
  });
});

describe("scheme/primes", () => {
  it("finds safe primes with their two top bits set", async () => {
    const prime = await generateSafePrime(128);
    expect(isSafePrime(prime)).to.equal(true);
    expect(hasTopBits(prime, 128)).to.equal(true);
  });

  it("hands on what OpenSSL refuses", async () => {
    const failure = await generateSafePrime(1).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(Error);
  });

  it("tells safe primes from others", () => {
    expect([7n, 11n, 23n, 47n].every(isSafePrime)).to.equal(true);
    expect([1n, 5n, 13n, 15n, 17n, 19n].some(isSafePrime)).to.equal(false);
  });
});
