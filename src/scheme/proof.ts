/**
 * @module Proof that a signature share is right (Shoup 2000, section 3, "a proof of correctness": equality
 * of the logarithms of v_i to v and of x_i² to x̃ = x^{4Δ}, made non-interactive by a hash).
 *
 * Divergences from the paper: the proof carries the commitments v' = v^r and x' = x̃^r instead of the
 * challenge c, so that verifying needs no inverses; the hash is SHA-256 over a length-framed
 * transcript that also binds key, epoch, party and N; r has 512 bits more than N, so that z hides s_i
 * up to a statistical distance of 2^-256. The share's sign does not matter here: x_i² is proven, and
 * only one canonical share belongs to it unless somebody can factor N.
 */
import { bytesToNumber, concatBytes, framedHash, numberToBytes, uint32 } from "./bytes.js";
import { isParty, verificationKey } from "./group-key.js";
import { isCoprime } from "./inverse.js";
import type { KeyShare } from "./key-share.js";
import { Exponentiator, publicPower } from "./modexp.js";
import { factorial } from "./polynomial.js";
import { messageRepresentative } from "./share.js";
import type { GroupKey, ProofContext, RandomSource, SignatureShare } from "./types.js";

const domain = Buffer.from("thsm/v1/shoup-share-proof");
const version = 1;
const nonceExtraBytes = 64;
/** z = s_i·c + r < 2^{L(N)+512} + 2^{L(N)+256}: one bit more than r. */
const responseExtraBytes = nonceExtraBytes + 1;

interface Statement {
  /** x̃ = x^{4Δ} */
  readonly base: bigint;
  /** v_i */
  readonly verificationKey: bigint;
  /** x_i² */
  readonly squaredShare: bigint;
}

interface Commitment {
  /** v' */
  readonly v: bigint;
  /** x' */
  readonly x: bigint;
}

/**
 * The proof for one share in bytes: `version 1 ‖ v' ‖ x' ‖ z`, the first two as long as N, z 65 bytes longer.
 * Public. r is secret and used once; z is computed in `bigint`, whose timing depends on sizes only
 * coarsely. `share` must be right: a wrong one gives a proof that does not verify.
 */
export function proveShare(
  group: GroupKey,
  encodedMessage: Uint8Array,
  share: SignatureShare,
  keyShare: KeyShare,
  context: ProofContext,
  random: RandomSource,
): Uint8Array {
  const { modulusLength: length } = group;
  const statement = statementOf(group, encodedMessage, share);
  const nonceBytes = random(length + nonceExtraBytes);
  const nonce = bytesToNumber(nonceBytes);
  nonceBytes.fill(0);
  const exponentiator = new Exponentiator(group.modulus).setExponent(nonce);
  const commitment = {
    v: exponentiator.power(group.verificationBase),
    x: exponentiator.power(statement.base),
  };
  exponentiator.erase();
  const challenge = challengeOf(group, share.index, statement, commitment, context);
  return concatBytes([
    Uint8Array.of(version),
    numberToBytes(commitment.v, length),
    numberToBytes(commitment.x, length),
    numberToBytes(keyShare.secret * challenge + nonce, length + responseExtraBytes),
  ]);
}

/**
 * Whether `proof` shows that `share` is the party's right share of the message:
 * v^z = v'·v_i^c and x̃^z = x'·(x_i²)^c. Any bytes are taken; what is not a proof is false.
 * @throws HsmError `ERR_INVALID_ARGUMENT` for an encoded message out of range.
 */
export function verifyShareProof(
  group: GroupKey,
  encodedMessage: Uint8Array,
  share: SignatureShare,
  proof: Uint8Array,
  context: ProofContext,
): boolean {
  const { modulus, modulusLength: length } = group;
  if (!isParty(group, share.index) || !isCoprime(share.value, modulus)) return false;
  if (proof.length !== 1 + 3 * length + responseExtraBytes || proof[0] !== version) return false;
  const v = bytesToNumber(proof.subarray(1, 1 + length));
  const x = bytesToNumber(proof.subarray(1 + length, 1 + 2 * length));
  const z = bytesToNumber(proof.subarray(1 + 2 * length));
  if (v <= 0n || v >= modulus || x <= 0n || x >= modulus) return false;
  if (z <= 0n || z >> BigInt(8 * (length + nonceExtraBytes)) > 1n) return false;

  const statement = statementOf(group, encodedMessage, share);
  const challenge = challengeOf(group, share.index, statement, { v, x }, context);
  const holds = (base: bigint, committed: bigint, element: bigint): boolean =>
    publicPower(group, base, z) === (committed * publicPower(group, element, challenge)) % modulus;
  return (
    holds(group.verificationBase, v, statement.verificationKey) &&
    holds(statement.base, x, statement.squaredShare)
  );
}

function statementOf(
  group: GroupKey,
  encodedMessage: Uint8Array,
  share: SignatureShare,
): Statement {
  const x = messageRepresentative(group, encodedMessage);
  return {
    base: publicPower(group, x, 4n * factorial(group.parties)),
    verificationKey: verificationKey(group, share.index),
    squaredShare: share.value ** 2n % group.modulus,
  };
}

/** c, by Fiat and Shamir. */
function challengeOf(
  group: GroupKey,
  index: number,
  statement: Statement,
  commitment: Commitment,
  context: ProofContext,
): bigint {
  const element = (value: bigint): Uint8Array => numberToBytes(value, group.modulusLength);
  const hash = framedHash([
    domain,
    Buffer.from(context.keyId),
    uint32(context.epoch),
    uint32(index),
    element(group.modulus),
    element(group.verificationBase),
    element(statement.base),
    element(statement.verificationKey),
    element(statement.squaredShare),
    element(commitment.v),
    element(commitment.x),
  ]);
  return bytesToNumber(hash);
}
