/** @module From PKCS#11 mechanisms to what the client is asked to sign. */
import { parseDigestInfo, type Hash, type Padding, type SignInput } from "../client/index.js";
import { ckm, ckr } from "./ckr.js";
import { CkrError } from "./errors-to-ckr.js";
import type { Reader } from "./rpc/codec.js";

const wireHashes: readonly (Hash | undefined)[] = [
  undefined,
  "sha1",
  "sha224",
  "sha256",
  "sha384",
  "sha512",
];

const pkcs1: ReadonlySet<number> = new Set([
  ckm.SHA1_RSA_PKCS,
  ckm.SHA224_RSA_PKCS,
  ckm.SHA256_RSA_PKCS,
  ckm.SHA384_RSA_PKCS,
  ckm.SHA512_RSA_PKCS,
]);

const pss: ReadonlySet<number> = new Set([
  ckm.RSA_PKCS_PSS,
  ckm.SHA1_RSA_PKCS_PSS,
  ckm.SHA224_RSA_PKCS_PSS,
  ckm.SHA256_RSA_PKCS_PSS,
  ckm.SHA384_RSA_PKCS_PSS,
  ckm.SHA512_RSA_PKCS_PSS,
]);

/** Mechanism, hash, salt and data, as SIGN and VERIFY carry them. */
export interface MechanismInput {
  readonly mechanism: number;
  readonly hash: Hash | undefined;
  readonly saltLength: number;
  readonly data: Uint8Array;
}

/** @throws CkrError MECHANISM_PARAM_INVALID; HsmError `ERR_INVALID_MESSAGE` */
export function readMechanism(reader: Reader): MechanismInput {
  const [mechanism, hash, saltLength] = [reader.u32(), reader.u8(), reader.u8()];
  if (hash >= wireHashes.length || saltLength > 64) {
    throw new CkrError(ckr.MECHANISM_PARAM_INVALID, "hash or salt length out of range");
  }
  return { mechanism, hash: wireHashes[hash], saltLength, data: reader.bytes() };
}

/** Mechanism, hashes, label and data, as DECRYPT and ENCRYPT carry them. */
export interface EncryptionInput {
  readonly mechanism: number;
  readonly hash: Hash | undefined;
  readonly maskHash: Hash | undefined;
  readonly label: Uint8Array;
  readonly data: Uint8Array;
}

/** @throws CkrError MECHANISM_PARAM_INVALID; HsmError `ERR_INVALID_MESSAGE` */
export function readEncryption(reader: Reader): EncryptionInput {
  const [mechanism, hash, maskHash] = [reader.u32(), reader.u8(), reader.u8()];
  if (hash >= wireHashes.length || maskHash >= wireHashes.length) {
    throw new CkrError(ckr.MECHANISM_PARAM_INVALID, "hash out of range");
  }
  const [label, data] = [reader.bytes(), reader.bytes()];
  return { mechanism, hash: wireHashes[hash], maskHash: wireHashes[maskHash], label, data };
}

/** @throws CkrError MECHANISM_INVALID, MECHANISM_PARAM_INVALID */
export function toPadding({ mechanism, hash, maskHash, label }: EncryptionInput): Padding {
  if (mechanism === ckm.RSA_PKCS) return { padding: "pkcs1v15" };
  if (mechanism === ckm.RSA_X_509) return { padding: "none" };
  if (mechanism !== ckm.RSA_PKCS_OAEP) {
    throw new CkrError(ckr.MECHANISM_INVALID, `no mechanism ${mechanism}`);
  }
  if (hash === undefined || maskHash === undefined) {
    throw new CkrError(ckr.MECHANISM_PARAM_INVALID, "hash missing");
  }
  return { padding: "oaep", hash, maskHash, label };
}

/**
 * What to sign with a key of `modulusBytes`. CKM_RSA_PKCS comes with the DigestInfo already made;
 * the nodes want to see hash and digest, so it is taken apart again.
 * @throws CkrError MECHANISM_INVALID, MECHANISM_PARAM_INVALID or DATA_LEN_RANGE
 */
export function toSignInput(keyId: string, modulusBytes: number, input: MechanismInput): SignInput {
  const { mechanism, hash, saltLength, data } = input;
  if (mechanism === ckm.RSA_PKCS) {
    const info = parseDigestInfo(data);
    if (info === undefined) return { keyId, encoding: "pkcs1v15-opaque", data };
    return { keyId, encoding: "pkcs1v15", hash: info.hash, data: info.digest };
  }
  if (mechanism === ckm.RSA_X_509) {
    if (data.length > modulusBytes) throw new CkrError(ckr.DATA_LEN_RANGE, "block too long");
    const block = new Uint8Array(modulusBytes);
    block.set(data, modulusBytes - data.length);
    return { keyId, encoding: "raw", data: block };
  }
  if (!pkcs1.has(mechanism) && !pss.has(mechanism)) {
    throw new CkrError(ckr.MECHANISM_INVALID, `no mechanism ${mechanism}`);
  }
  if (hash === undefined) throw new CkrError(ckr.MECHANISM_PARAM_INVALID, "hash missing");
  return pkcs1.has(mechanism)
    ? { keyId, encoding: "pkcs1v15", hash, data }
    : { keyId, encoding: "pss", hash, saltLength, data };
}
