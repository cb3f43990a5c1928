/** @module One message signed by all five parties of a 3-of-5 key, and ways to spoil that. */
import { randomBelow } from "../../src/scheme/bytes.js";
import {
  combine,
  type GroupKey,
  type ProofContext,
  type SignatureShare,
} from "../../src/scheme/index.js";
import { canonical } from "../../src/scheme/share.js";
import { fixedRandom, testKey, type TestKey } from "../support/keys.js";
import { allShares, encoded } from "./support.js";

export const key: TestKey = testKey(1024, 5, 3);
export const group: GroupKey = key.group;
export const modulus: bigint = group.modulus;
export const length: number = group.modulusLength;
export const message: Uint8Array = encoded(group, "message");
/** Of all parties, right, in order. */
export const shares: readonly SignatureShare[] = allShares(key, message);
export const signature: Uint8Array = combine(group, message, shares.slice(0, 3));
export const context: ProofContext = { keyId: "00112233445566778899aabbccddeeff", epoch: 0 };

/** Numbers of parties and thresholds that properties are tried with. */
export const choices: readonly (readonly [parties: number, threshold: number])[] = [
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [5, 5],
  [7, 4],
];

/**
 * A share that is in range and wrong by a factor of its own: the same factor for two parties can
 * cancel, as colluders do below.
 */
export function spoiled(of: GroupKey, { index, value }: SignatureShare): SignatureShare {
  const factor = randomBelow(of.modulus, fixedRandom(`spoiled/${index}`));
  return { index, value: canonical(of, (value * factor) % of.modulus) };
}

/** The list with one party's share replaced. */
export function replaced(
  all: readonly SignatureShare[],
  index: number,
  value: bigint,
): readonly SignatureShare[] {
  return all.map((share) => (share.index === index ? { index, value } : share));
}
