/**
 * @module What other folders may use of the scheme: RSA signatures by k of n parties (Shoup,
 * "Practical Threshold Signatures", EUROCRYPT 2000), hardened. Pure: no I/O, no clock, no log;
 * randomness is a parameter.
 */
export { blind, type Blinded } from "./blind.js";
export { combine, combineAll, verifySignature } from "./combine.js";
export { dealKey, type DealOptions, type DealtKey } from "./dealer.js";
export { parseDigestInfo } from "./digest-info.js";
export { decodeOaep, decodeType2, encodeOaep, encodeType2, type OaepOptions } from "./eme.js";
export { encodeMessage, pssSaltOf, type EncodingInput } from "./emsa.js";
export { groupKeyBytes, parseGroupKey } from "./group-key.js";
export { type KeyShare, parseKeyShare, serializeKeyShare, verifyKeyShare } from "./key-share.js";
export { selfCheck } from "./modexp.js";
export { generateSafePrime } from "./primes.js";
export { verifyShareProof } from "./proof.js";
export { findQuorum, maxQuorumsTried, type QuorumResult } from "./quorum.js";
export { parseSignatureShare } from "./share.js";
export { ShareSigner } from "./signer.js";
export {
  type Encoding,
  type GroupKey,
  type GroupKeyBytes,
  type Hash,
  maxModulusBits,
  maxParties,
  minModulusBits,
  modulusSizes,
  type ProofContext,
  type RandomSource,
  type RsaPublicKey,
  type SignatureShare,
} from "./types.js";
