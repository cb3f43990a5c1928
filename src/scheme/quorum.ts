/**
 * @module Many signature shares, some of them perhaps wrong: which k make the signature, and who is
 * to blame. Nothing of this is in the paper, which verifies a proof for each share first; here the
 * signature proves the shares, at the price of one public-key operation.
 *
 * What a valid signature proves. The shares of a quorum are the values of a polynomial g of degree
 * below k, in the exponent; the signature shows g(0) = f(0) for the dealt f. One wrong share would
 * spoil that, but *two or more colluding parties can choose errors that cancel*. Then the signature
 * is right, their shares are wrong, and an honest share left out looks wrong beside them. Such a
 * g ≠ f meets f in 0 and therefore in at most k-2 honest parties; with at most k-1 wrong parties, no
 * more than 2k-3 shares lie on it. So 2k-2 shares on one polynomial are f's, and what is off it is
 * proven wrong: a false blame takes k parties, who own the key anyway. Below that number the shares
 * that are off are only suspect, and a share proof decides.
 */
import { createHash } from "node:crypto";
import { tryCombine } from "./combine.js";
import { productOfPowers } from "./modexp.js";
import { interpolation } from "./polynomial.js";
import { messageRepresentative } from "./share.js";
import type { GroupKey, SignatureShare } from "./types.js";

/** A signature and what it tells about the shares. All lists are party indices, ascending. */
export interface QuorumResult {
  /** Checked. As long as the modulus. */
  readonly signature: Uint8Array;
  /** The k parties whose shares were combined. */
  readonly quorum: number[];
  /** Parties whose shares are proven wrong, as long as fewer than k parties are bad. */
  readonly culprits: number[];
  /**
   * Parties whose shares do not go with the quorum's, where it takes a share proof to tell who of both is
   * wrong. A party that proves its share right turns the suspicion on the quorum.
   */
  readonly suspects: number[];
}

/**
 * Most quorums that are tried, so that wrong shares cannot keep a client busy. It is every quorum for up
 * to 11 parties; beyond that a sample, and proofs have to sort the shares first when it finds nothing.
 */
export const maxQuorumsTried = 500;

/**
 * Finds k of the shares that combine, and judges the others by them. Of a party's shares the first counts.
 * Deterministic. Undefined when there are fewer than k parties, or no quorum was found within
 * `maxQuorumsTried` combinations.
 * @throws HsmError `ERR_INVALID_ARGUMENT` for an encoded message out of range.
 */
export function findQuorum(
  group: GroupKey,
  encodedMessage: Uint8Array,
  shares: readonly SignatureShare[],
): QuorumResult | undefined {
  const x = messageRepresentative(group, encodedMessage);
  const byParty = new Map(shares.toReversed().map((share) => [share.index, share]));
  const distinct = [...byParty.values()].toReversed();
  for (const quorum of quorums(distinct, group.threshold, encodedMessage)) {
    const [signature] = tryCombine(group, [{ x, shares: quorum }]);
    if (signature !== undefined) return { signature, ...judge(group, distinct, quorum) };
  }
  return undefined;
}

function judge(
  group: GroupKey,
  shares: readonly SignatureShare[],
  quorum: readonly SignatureShare[],
): Omit<QuorumResult, "signature"> {
  const others = shares.filter((share) => !quorum.includes(share));
  const wrong = ascending(others.filter((share) => !liesOnPolynomial(group, quorum, share)));
  const certain = shares.length - wrong.length >= 2 * group.threshold - 2;
  return {
    quorum: ascending(quorum),
    culprits: certain ? wrong : [],
    suspects: certain ? [] : wrong,
  };
}

/**
 * Whether a share x_j lies on the polynomial through the quorum's, in the exponent:
 * (x_j²)^D = Π (x_i²)^{λ_i} with λ for the point j, negative exponents on the other side. D has small factors
 * only, so raising to it loses nothing among squares, whose order is p'q'.
 */
function liesOnPolynomial(
  { modulus }: GroupKey,
  quorum: readonly SignatureShare[],
  share: SignatureShare,
): boolean {
  const indices = quorum.map(({ index }) => index);
  const { denominator, coefficients } = interpolation(indices, share.index);
  const left: [bigint, bigint][] = [[share.value, denominator]];
  const right: [bigint, bigint][] = [];
  for (const [i, { value }] of quorum.entries()) {
    const coefficient = coefficients[i] ?? 0n;
    if (coefficient > 0n) right.push([value, coefficient]);
    else left.push([value, -coefficient]);
  }
  const difference = productOfPowers(left, modulus) ** 2n - productOfPowers(right, modulus) ** 2n;
  return difference % modulus === 0n;
}

/**
 * The first k, and then all k-subsets in lexicographic order, or where these are too many a sample of
 * them. The sample follows from the message, so that an audit repeats it and nobody can plan for it
 * across messages.
 */
function* quorums(
  shares: readonly SignatureShare[],
  threshold: number,
  seed: Uint8Array,
): Generator<readonly SignatureShare[]> {
  if (shares.length < threshold) return;
  if (countSubsets(shares.length, threshold) <= maxQuorumsTried) {
    yield* subsets(shares, threshold);
    return;
  }
  yield shares.slice(0, threshold);
  for (let attempt = 1; attempt < maxQuorumsTried; attempt++) {
    // 16 bits of rank for each of at most 32 parties.
    const ranks = createHash("sha512").update(seed).update(String(attempt)).digest();
    yield shares
      .map((share, i) => ({ share, rank: ranks.readUInt16BE(2 * i) }))
      .toSorted((one, other) => one.rank - other.rank)
      .slice(0, threshold)
      .map(({ share }) => share);
  }
}

function* subsets<T>(items: readonly T[], size: number): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (const [i, item] of items.entries()) {
    if (items.length - i < size) return;
    for (const rest of subsets(items.slice(i + 1), size - 1)) yield [item, ...rest];
  }
}

/** The binomial coefficient; exact for up to 32 items. */
function countSubsets(items: number, size: number): number {
  let count = 1;
  for (let i = 1; i <= size; i++) count = (count * (items - size + i)) / i;
  return count;
}

function ascending(shares: readonly SignatureShare[]): number[] {
  return shares.map(({ index }) => index).toSorted((one, other) => one - other);
}
