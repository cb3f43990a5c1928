/**
 * @module k signature shares become a signature (Shoup 2000, section 3, "Combining shares").
 *
 * With D the common denominator of this quorum: w = Π x_i^{2λ_i} = x^{4ΔD·d}, so w^e = x^{4ΔD}; with
 * a·4ΔD + b·e = 1 the signature is y = w^a·x^b. The paper has D = Δ (see `interpolation`). Of all
 * (a, b) we take the one with the first odd a below 0, which makes b odd and positive: one inverse in
 * all, and both are exponents that OpenSSL's RSA public operation takes.
 */
import { HsmError } from "../errors.js";
import { bytesToNumber, numberToBytes } from "./bytes.js";
import { isParty } from "./group-key.js";
import { inverse, inverses } from "./inverse.js";
import { productOfPowers, publicPower } from "./modexp.js";
import { factorial, interpolation } from "./polynomial.js";
import { messageRepresentative } from "./share.js";
import type { GroupKey, RsaPublicKey, SignatureShare } from "./types.js";

/**
 * The signature of exactly k shares of distinct parties, checked: y^e = x. As long as the modulus. Public.
 * @throws HsmError `ERR_COMBINE_FAILED` when not all of the shares are right,
 * `ERR_INVALID_ARGUMENT` for an encoded message out of range.
 * @throws RangeError for another number of shares, a party twice, or a party that is not there.
 */
export function combine(
  group: GroupKey,
  encodedMessage: Uint8Array,
  shares: readonly SignatureShare[],
): Uint8Array {
  const [signature] = combineAll(group, [encodedMessage], [shares]);
  if (signature === undefined) {
    throw new HsmError("ERR_COMBINE_FAILED", "the shares do not make a valid signature");
  }
  return signature;
}

/**
 * `combine` for several messages, each with its own k shares; undefined in the place of a signature where the
 * shares make none. All messages share the one inversion, the dearest step after the exponentiations.
 * @throws as `combine`, but for `ERR_COMBINE_FAILED`
 */
export function combineAll(
  group: GroupKey,
  encodedMessages: readonly Uint8Array[],
  shares: readonly (readonly SignatureShare[])[],
): (Uint8Array | undefined)[] {
  return tryCombine(
    group,
    encodedMessages.map((encoded, i) => {
      const own = shares[i] ?? [];
      requireParties(group, own);
      return { x: messageRepresentative(group, encoded), shares: own };
    }),
  );
}

function requireParties(group: GroupKey, shares: readonly SignatureShare[]): void {
  const parties = new Set(shares.map(({ index }) => index));
  if (shares.length !== group.threshold || parties.size !== shares.length) {
    throw new RangeError(`expected shares of ${group.threshold} parties, got ${shares.length}`);
  }
  if (![...parties].every((index) => isParty(group, index))) {
    throw new RangeError("shares of parties that are not in the group");
  }
}

/** `combineAll` without its checks of the arguments: the signature of each x, or undefined. */
export function tryCombine(
  group: GroupKey,
  inputs: readonly { readonly x: bigint; readonly shares: readonly SignatureShare[] }[],
): (Uint8Array | undefined)[] {
  const { modulus } = group;
  const terms = inputs.map(({ shares }) => {
    const sorted = shares.toSorted((one, other) => one.index - other.index);
    const { coefficients, a, b } = recombination(
      group,
      sorted.map(({ index }) => index),
    );
    const factors = sorted.map(({ value }, i) => [value, coefficients[i] ?? 0n] as const);
    const positive = factors.filter(([, exponent]) => exponent > 0n);
    const negative = factors.flatMap(([value, exponent]) =>
      exponent < 0n ? [[value, -exponent] as const] : [],
    );
    return {
      positive: productOfPowers(positive, modulus),
      negative: productOfPowers(negative, modulus),
      a,
      b,
    };
  });
  const denominators = inverses(
    terms.map(({ positive }) => positive),
    modulus,
  );
  return terms.map(({ negative, a, b }, i) => {
    const [x, denominator] = [inputs[i]?.x, denominators[i]];
    if (x === undefined || denominator === undefined) return undefined;
    // w = (P/Q)²; a < 0, so what is raised is (Q/P)².
    const root = (negative * denominator) % modulus;
    const w = publicPower(group, (root * root) % modulus, -a);
    const y = (w * publicPower(group, x, b)) % modulus;
    return publicPower(group, y, group.publicExponent) === x
      ? numberToBytes(y, group.modulusLength)
      : undefined;
  });
}

/**
 * Whether `signature` is that of the encoded message: as long as the modulus, below N, y^e = x.
 * Any bytes are taken. For PSS this compares with the one encoding that has the same salt.
 */
export function verifySignature(
  key: RsaPublicKey,
  encodedMessage: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (encodedMessage.length !== key.modulusLength) return false;
  if (signature.length !== key.modulusLength) return false;
  const y = bytesToNumber(signature);
  return (
    y < key.modulus && publicPower(key, y, key.publicExponent) === bytesToNumber(encodedMessage)
  );
}

/** What depends on the quorum but not on the message. */
interface Recombination {
  /** λ_i, in ascending order of parties. */
  readonly coefficients: readonly bigint[];
  readonly a: bigint;
  readonly b: bigint;
}

const recombinations = new WeakMap<GroupKey, Map<string, Recombination>>();
const maxRecombinations = 512;

function recombination(group: GroupKey, quorum: readonly number[]): Recombination {
  let ofGroup = recombinations.get(group);
  if (ofGroup === undefined || ofGroup.size >= maxRecombinations) {
    ofGroup = new Map();
    recombinations.set(group, ofGroup);
  }
  const name = quorum.join();
  let found = ofGroup.get(name);
  if (found === undefined) {
    found = computeRecombination(group, quorum);
    ofGroup.set(name, found);
  }
  return found;
}

function computeRecombination(group: GroupKey, quorum: readonly number[]): Recombination {
  const { denominator, coefficients } = interpolation(quorum, 0);
  const e = group.publicExponent;
  const exponent = 4n * factorial(group.parties) * denominator;
  // e is a prime above every factor of the exponent, so the inverse exists.
  let a = (inverse(exponent % e, e) ?? 0n) - e;
  if (a % 2n === 0n) a -= e;
  return { coefficients, a, b: (1n - a * exponent) / e };
}
