/**
 * @module The public record of a key: bytes to numbers and back, with every range checked. What Shoup
 * 2000, section 3 calls the public key (N, e) and the verification keys VK, VK_i.
 */
import { HsmError } from "../errors.js";
import { bytesToNumber, numberToBytes } from "./bytes.js";
import { isCoprime } from "./inverse.js";
import {
  type GroupKey,
  type GroupKeyBytes,
  maxParties,
  modulusSizes,
  publicExponent,
} from "./types.js";

/**
 * The checked and frozen group key in a public record: N of an exact size and of a form that a product
 * of two safe primes has; e = 65537; n/2 < k <= n <= 32; v and n keys v_i in (1, N), coprime to N, all in
 * canonical bytes. Not checked, because nobody can who has not dealt: that N has two safe factors and
 * that v and v_i are squares. For that the dealer is trusted.
 * @throws HsmError `ERR_INVALID_MESSAGE` for whatever is not such a record.
 */
export function parseGroupKey(bytes: GroupKeyBytes): GroupKey {
  const { threshold, parties } = bytes;
  const modulusLength = bytes.modulus.length;
  const modulus = bytesToNumber(bytes.modulus);
  const modulusBits = 8 * modulusLength;
  require(modulusSizes.includes(modulusBits) &&
    modulus >> BigInt(modulusBits - 1) === 1n, "modulus");
  // A safe prime above 7 is 11 modulo 12.
  require(modulus % 12n === 1n, "modulus");
  require(Buffer.from(numberToBytes(publicExponent, 3)).equals(bytes.publicExponent), "exponent");
  require(isValidThreshold(threshold, parties), "threshold or number of parties");

  const unit = (element: Uint8Array, name: string): bigint => {
    const value = bytesToNumber(element);
    require(element.length === modulusLength && 1n < value && value < modulus, name);
    require(isCoprime(value, modulus), name);
    return value;
  };
  require(bytes.verificationKeys.length === parties, "number of verification keys");
  return Object.freeze({
    modulus,
    modulusBits,
    modulusLength,
    publicExponent,
    threshold,
    parties,
    verificationBase: unit(bytes.verificationBase, "verification base"),
    verificationKeys: Object.freeze(
      bytes.verificationKeys.map((element, i) => unit(element, `verification key ${i + 1}`)),
    ),
  });
}

/** The inverse of `parseGroupKey`. */
export function groupKeyBytes(group: GroupKey): GroupKeyBytes {
  const { modulusLength: length } = group;
  return {
    modulus: numberToBytes(group.modulus, length),
    publicExponent: numberToBytes(group.publicExponent, 3),
    threshold: group.threshold,
    parties: group.parties,
    verificationBase: numberToBytes(group.verificationBase, length),
    verificationKeys: group.verificationKeys.map((key) => numberToBytes(key, length)),
  };
}

/** Whether k of n is a choice that the scheme takes: integers, n/2 < k <= n <= 32. */
export function isValidThreshold(threshold: number, parties: number): boolean {
  return (
    Number.isInteger(threshold) &&
    Number.isInteger(parties) &&
    parties >= 1 &&
    parties <= maxParties &&
    2 * threshold > parties &&
    threshold <= parties
  );
}

/** Whether `index` names a party of the group: an integer, 1 … n. */
export function isParty(group: GroupKey, index: number): boolean {
  return Number.isInteger(index) && index >= 1 && index <= group.parties;
}

/** v_i of a party. @throws RangeError when there is no such party. */
export function verificationKey(group: GroupKey, index: number): bigint {
  const key = group.verificationKeys[index - 1];
  if (key === undefined) throw new RangeError(`party ${index} is not in 1…${group.parties}`);
  return key;
}

function require(holds: boolean, name: string): void {
  if (!holds) throw new HsmError("ERR_INVALID_MESSAGE", `group key: ${name} out of range`);
}
