/**
 * @module From data to the encoded message that is signed: EMSA-PKCS1-v1_5 and EMSA-PSS (RFC 8017
 * section 9), an opaque payload in PKCS #1 type 1 padding (PKCS#11's CKM_RSA_PKCS), or a raw block; and
 * the block that a decryption begins with, which is raw too.
 */
import { createHash } from "node:crypto";
import { HsmError } from "../errors.js";
import { concatBytes } from "./bytes.js";
import { digestInfo, hashes } from "./digest-info.js";
import { mgf1 } from "./mgf1.js";
import type { Encoding, Hash } from "./types.js";

/** What to encode. */
export interface EncodingInput {
  readonly encoding: Encoding;
  /** The digest's hash; absent exactly for "pkcs1v15-opaque", "raw" and "decrypt". */
  readonly hash?: Hash;
  /** The digest; the payload to pad; or the whole block, as long as the modulus. */
  readonly data: Uint8Array;
  /** For "pss" only, and there required: all parties must encode with the same one. May be empty. */
  readonly salt?: Uint8Array;
}

/**
 * The encoded message, as long as the modulus, whose bits must be a multiple of 8. Whether a raw block
 * is below N is checked where it is signed.
 * @throws HsmError `ERR_UNSUPPORTED_MECHANISM` for an unknown encoding or hash, `ERR_INVALID_ARGUMENT` for
 * a hash or salt too many or missing, and for lengths that do not fit.
 */
export function encodeMessage(
  { modulusBits }: { readonly modulusBits: number },
  { encoding, hash, data, salt }: EncodingInput,
): Uint8Array {
  const length = modulusBits / 8;
  if (!["pkcs1v15", "pss", "pkcs1v15-opaque", "raw", "decrypt", "checkpoint"].includes(encoding)) {
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", "unknown encoding");
  }
  check((salt !== undefined) === (encoding === "pss"), "a salt exactly for pss");
  if (encoding === "pkcs1v15-opaque" || encoding === "raw" || encoding === "decrypt") {
    check(hash === undefined, `no hash for ${encoding}`);
    if (encoding === "pkcs1v15-opaque") return padType1(data, length);
    check(data.length === length, `a raw block of ${length} bytes, got ${data.length}`);
    return Uint8Array.from(data);
  }
  if (hash === undefined || !Object.hasOwn(hashes, hash)) {
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", "unknown or missing hash");
  }
  check(encoding !== "checkpoint" || hash === "sha256", "sha256 for a checkpoint");
  const expected = hashes[hash].length;
  check(data.length === expected, `a digest of ${expected} bytes, got ${data.length}`);
  return salt === undefined
    ? padType1(digestInfo(hash, data), length)
    : encodePss(hash, data, salt, length);
}

/** RFC 8017 section 9.2, steps 3 to 5: 00 01 FF…FF 00 ‖ payload, at least eight FF. */
function padType1(payload: Uint8Array, length: number): Uint8Array {
  check(payload.length <= length - 11, `at most ${length - 11} bytes, got ${payload.length}`);
  const encoded = new Uint8Array(length).fill(0xff);
  encoded[0] = 0x00;
  encoded[1] = 0x01;
  encoded[length - payload.length - 1] = 0x00;
  encoded.set(payload, length - payload.length);
  return encoded;
}

/**
 * RFC 8017 section 9.1.1 from step 4 on, with emBits = 8·length - 1, MGF1 over the same hash, and the salt
 * given instead of drawn: a threshold signature needs one encoded message for all parties.
 */
function encodePss(hash: Hash, digest: Uint8Array, salt: Uint8Array, length: number): Uint8Array {
  const most = length - digest.length - 2;
  check(salt.length <= most, `at most ${most} bytes of salt, got ${salt.length}`);
  const h = createHash(hash).update(new Uint8Array(8)).update(digest).update(salt).digest();
  const block = new Uint8Array(length - h.length - 1);
  block[block.length - salt.length - 1] = 0x01;
  block.set(salt, block.length - salt.length);
  const mask = mgf1(hash, h, block.length);
  const masked = block.map((byte, i) => byte ^ (mask[i] ?? 0));
  masked[0] = (masked[0] ?? 0) & 0x7f;
  return concatBytes([masked, h, Uint8Array.of(0xbc)]);
}

/**
 * The salt inside an EMSA-PSS encoded message, undefined where there is none (RFC 8017 section 9.1.2,
 * steps 4 to 11). Nothing is verified by it: encode the digest with this salt and compare.
 */
export function pssSaltOf(hash: Hash, encodedMessage: Uint8Array): Uint8Array | undefined {
  const split = encodedMessage.length - hashes[hash].length - 1;
  if (split <= 0) return undefined;
  const mask = mgf1(hash, encodedMessage.subarray(split, -1), split);
  const block = encodedMessage.subarray(0, split).map((byte, i) => byte ^ (mask[i] ?? 0));
  block[0] = (block[0] ?? 0) & 0x7f;
  const separator = block.findIndex((byte) => byte !== 0);
  return block[separator] === 0x01 ? block.slice(separator + 1) : undefined;
}

function check(holds: boolean, expected: string): void {
  if (!holds) throw new HsmError("ERR_INVALID_ARGUMENT", `expected ${expected}`);
}
