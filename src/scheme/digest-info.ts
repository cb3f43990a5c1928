/**
 * @module DigestInfo of PKCS #1 (RFC 8017 section 9.2, note 1): the DER that names a digest's hash. There
 * are ten of them, so they are a table and not a parser.
 */
import type { Hash } from "./types.js";

interface HashInfo {
  /** Bytes of a digest. */
  readonly length: number;
  /** DER of `AlgorithmIdentifier` with NULL parameters, and the frame around it, up to the digest. */
  readonly prefix: Uint8Array;
  /** The same with absent parameters. */
  readonly barePrefix: Uint8Array;
}

const nistHashes = "06096086480165030402";

/** Every hash that is taken. Node names them as we do. */
export const hashes: Readonly<Record<Hash, HashInfo>> = {
  sha1: hashInfo("06052b0e03021a", 20),
  sha224: hashInfo(`${nistHashes}04`, 28),
  sha256: hashInfo(`${nistHashes}01`, 32),
  sha384: hashInfo(`${nistHashes}02`, 48),
  sha512: hashInfo(`${nistHashes}03`, 64),
};

/** DigestInfo of a digest, with NULL parameters as RFC 8017 wants them. */
export function digestInfo(hash: Hash, digest: Uint8Array): Uint8Array {
  return Buffer.concat([hashes[hash].prefix, digest]);
}

/**
 * Hash and digest of a DigestInfo in strict DER, or undefined. Parameters are NULL or absent: RFC 8017
 * section 9.2 has verifiers take both, and applications send both. What is signed has NULL.
 */
export function parseDigestInfo(bytes: Uint8Array): { hash: Hash; digest: Uint8Array } | undefined {
  for (const hash of ["sha1", "sha224", "sha256", "sha384", "sha512"] as const) {
    const { length, prefix, barePrefix } = hashes[hash];
    for (const expected of [prefix, barePrefix]) {
      const digest = bytes.slice(expected.length);
      const start = bytes.subarray(0, expected.length);
      if (digest.length === length && Buffer.compare(start, expected) === 0) {
        return { hash, digest };
      }
    }
  }
  return undefined;
}

/** SEQUENCE { SEQUENCE { OID, NULL? }, OCTET STRING } up to the octets. */
function hashInfo(oid: string, length: number): HashInfo {
  const frame = (algorithm: Buffer): Uint8Array => {
    const inner = Uint8Array.of(0x30, algorithm.length);
    const octets = Uint8Array.of(0x04, length);
    const size = inner.length + algorithm.length + octets.length + length;
    return Buffer.concat([Uint8Array.of(0x30, size), inner, algorithm, octets]);
  };
  return {
    length,
    prefix: frame(Buffer.from(`${oid}0500`, "hex")),
    barePrefix: frame(Buffer.from(oid, "hex")),
  };
}
