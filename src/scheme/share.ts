/**
 * @module Signature shares (Shoup 2000, section 3, "Generating a signature share"):
 * x_i = x^{2Δs_i} mod N, in canonical form.
 *
 * Divergence from the paper, which takes x_i in Z_N*: combining and proving use x_i² only, so -x_i would
 * pass as well, and a node could give two answers. Our share is the smaller of x_i and N-x_i, an
 * element of the group of signed quadratic residues (Hofheinz and Kiltz, CRYPTO 2009); the larger one
 * is refused. -1 is no square modulo N (p and q are 3 modulo 4), so nothing is lost, and a share is a
 * function of key, party and message.
 */
import { HsmError, InvalidSignatureShareError } from "../errors.js";
import { bytesToNumber } from "./bytes.js";
import { isParty } from "./group-key.js";
import type { GroupKey, RsaPublicKey, SignatureShare } from "./types.js";

/**
 * x, the number that is signed, 1 < x < N-1: 0 and ±1 sign to themselves. Whether x is coprime to N is
 * not checked: who can find one that is not has factored N.
 * @throws HsmError `ERR_INVALID_ARGUMENT`
 */
export function messageRepresentative(key: RsaPublicKey, encodedMessage: Uint8Array): bigint {
  const x = encodedMessage.length === key.modulusLength ? bytesToNumber(encodedMessage) : 0n;
  if (x <= 1n || x >= key.modulus - 1n) {
    throw new HsmError("ERR_INVALID_ARGUMENT", "encoded message is out of range for the modulus");
  }
  return x;
}

/** The smaller of ±x_i. */
export function canonical(group: GroupKey, value: bigint): bigint {
  return 2n * value < group.modulus ? value : group.modulus - value;
}

/**
 * Party `index`'s share in `bytes`: exactly as long as N, 1 < x_i <= (N-1)/2. `index` must be the party of
 * the authenticated sender. Whether the share is right, `findQuorum` or `verifyShareProof` tells; with one
 * that is not coprime to N, which takes a factor of N to find, both say no.
 * @throws HsmError `ERR_INVALID_SIGNATURE_SHARE`, with the party as culprit when there is such a party.
 */
export function parseSignatureShare(
  group: GroupKey,
  index: number,
  bytes: Uint8Array,
): SignatureShare {
  if (!isParty(group, index)) {
    throw new InvalidSignatureShareError([], `party ${index} is not in 1…${group.parties}`);
  }
  const value = bytes.length === group.modulusLength ? bytesToNumber(bytes) : 0n;
  if (value <= 1n || value !== canonical(group, value)) {
    throw new InvalidSignatureShareError([index], `signature share of party ${index} is malformed`);
  }
  return { index, value };
}
