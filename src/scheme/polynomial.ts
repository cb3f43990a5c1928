/**
 * @module Shamir's polynomial over Z_m and Lagrange interpolation over the integers (Shoup 2000,
 * section 3, equation 1).
 */
import { randomBelow } from "./bytes.js";
import type { RandomSource } from "./types.js";

/** Coefficients of f(X) = constant + a_1·X + …, `threshold` many, uniform in Z_m. Secret. */
export function randomPolynomial(
  constant: bigint,
  threshold: number,
  order: bigint,
  random: RandomSource,
): bigint[] {
  const higher = Array.from({ length: threshold - 1 }, () => randomBelow(order, random));
  return [constant, ...higher];
}

/** f(x) mod m by Horner's rule. */
export function evaluate(polynomial: readonly bigint[], x: number, order: bigint): bigint {
  return polynomial.reduceRight((sum, coefficient) => (sum * BigInt(x) + coefficient) % order, 0n);
}

/** Δ = n! */
export function factorial(parties: number): bigint {
  let product = 1n;
  for (let factor = 2n; factor <= BigInt(parties); factor++) product *= factor;
  return product;
}

/** denominator·f(at) = Σ coefficient_i·f(i) over the quorum, for every f of degree below its size. */
export interface Interpolation {
  /** Above 0; divides n!. */
  readonly denominator: bigint;
  /** In the order of the quorum. */
  readonly coefficients: readonly bigint[];
}

/**
 * Lagrange coefficients for distinct party indices. Divergence from the paper, which multiplies by
 * Δ = n! always: the least common denominator of this quorum is much smaller (1 for parties 1…k), and
 * so are the exponents. Any common multiple serves, as long as both sides of an equation use the same.
 */
export function interpolation(quorum: readonly number[], at: number): Interpolation {
  const fractions = quorum.map((i) => {
    let [numerator, denominator] = [1n, 1n];
    for (const j of quorum) {
      if (j === i) continue;
      numerator *= BigInt(j - at);
      denominator *= BigInt(j - i);
    }
    const divisor = greatestCommonDivisor(numerator, denominator);
    return { numerator: numerator / divisor, denominator: denominator / divisor };
  });
  const denominator = fractions.reduce(
    (multiple, f) => (multiple * f.denominator) / greatestCommonDivisor(multiple, f.denominator),
    1n,
  );
  const positive = denominator < 0n ? -denominator : denominator;
  const coefficients = fractions.map((f) => (f.numerator * positive) / f.denominator);
  return { denominator: positive, coefficients };
}

/** Of small numbers; its sign is of no interest here. */
function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
