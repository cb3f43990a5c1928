/**
 * @module Encrypting to a public key, and what is left of a decryption once the nodes have done their
 * part: taking the padding off (scheme/ does it in constant time).
 */
import { constants, publicEncrypt, randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import type { IdentityKey } from "../identity/identity-key.js";
import {
  decodeOaep,
  decodeType2,
  encodeOaep,
  encodeType2,
  type OaepOptions,
} from "../scheme/index.js";
import { hashes, type DecryptInput, type Hash, type Padding } from "./api.js";
import { publicKeyObject, type PublicKey } from "./verify.js";

const longestLabel = 1024;

/** Bytes of a digest. */
export const hashLengths: Readonly<Record<Hash, number>> = {
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};

/**
 * `message` for the holder of the key's private half; as long as the modulus.
 * @throws HsmError `ERR_INVALID_ARGUMENT` for a message that is too long, or without padding a number
 * that is not below the modulus
 */
export function encryptTo(key: PublicKey, padding: Padding, message: Uint8Array): Uint8Array {
  requirePadding(key, padding);
  const block = pad(key, padding, message);
  try {
    const options = { key: publicKeyObject(key), padding: constants.RSA_NO_PADDING };
    return publicEncrypt(options, block);
  } catch (cause) {
    const text = "expected a number below the modulus";
    throw new HsmError("ERR_INVALID_ARGUMENT", text, { cause });
  } finally {
    block.fill(0);
  }
}

function pad(key: PublicKey, padding: Padding, message: Uint8Array): Uint8Array {
  const length = key.modulus.length;
  switch (padding.padding) {
    case "pkcs1v15":
      return encodeType2(length, message, randomBytes);
    case "oaep":
      return encodeOaep(length, oaepOf(padding), message, randomBytes);
    case "none": {
      if (message.length > length) {
        throw new HsmError("ERR_INVALID_ARGUMENT", `expected at most ${length} bytes`);
      }
      const block = new Uint8Array(length);
      block.set(message, length - message.length);
      return block;
    }
  }
}

/** @throws HsmError `ERR_INVALID_ARGUMENT`, `ERR_UNSUPPORTED_MECHANISM` for what no ciphertext could have. */
export function requirePadding({ modulusBits }: { modulusBits: number }, padding: Padding): void {
  if (padding.padding !== "oaep") return;
  const { hash, maskHash, label } = oaepOf(padding);
  if (!hashes.includes(hash) || !hashes.includes(maskHash)) {
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", "unknown hash for OAEP");
  }
  if (label.length > longestLabel) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `expected a label of at most ${longestLabel} bytes`);
  }
  if (modulusBits / 8 < 2 * hashLengths[hash] + 2) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `a key of ${modulusBits} bits has no room for ${hash}`,
    );
  }
}

function oaepOf({ hash, maskHash, label }: Padding): OaepOptions {
  if (hash === undefined) throw new HsmError("ERR_INVALID_ARGUMENT", "OAEP needs a hash");
  return { hash, maskHash: maskHash ?? hash, label: label ?? new Uint8Array(0) };
}

/**
 * The message in a decrypted block, which is erased.
 * @throws HsmError `ERR_DECRYPT_FAILED`
 */
export function unpad(block: Uint8Array, input: DecryptInput, identity: IdentityKey): Uint8Array {
  if (input.padding === "none") return block;
  const message =
    input.padding === "oaep"
      ? decodeOaep(block, oaepOf(input))
      : decodeType2(block, rejectionSecret(identity, input.keyId), input.ciphertext);
  block.fill(0);
  if (message === undefined) throw new HsmError("ERR_DECRYPT_FAILED", "cannot decrypt");
  return message;
}

/**
 * Stays the same as long as this client's identity, and nobody else can make it: Ed25519 signatures
 * are deterministic, and this one is never published. Messages begin otherwise (`thsm/v1` and a zero).
 */
function rejectionSecret(identity: IdentityKey, keyId: string): Uint8Array {
  return identity.sign(Buffer.from(`thsm/v1 implicit rejection\0${keyId}`, "utf8"));
}
