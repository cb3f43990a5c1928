/** @module Verifying an ordinary RSA signature by its public key: no node, no bus. */
import { constants, createPublicKey, publicEncrypt, type KeyObject } from "node:crypto";
import { toBase64url } from "../identity/encoding.js";
import { encodeMessage, pssSaltOf } from "../scheme/index.js";
import type { KeyInfo, SignInput } from "./api.js";

export type PublicKey = Pick<KeyInfo, "modulus" | "modulusBits" | "publicExponent">;

/**
 * Whether `signature` is the key's over `input`. For PSS the salt may be of any length unless
 * `input.saltLength` says which.
 */
export function verifySignature(
  key: PublicKey,
  input: Omit<SignInput, "keyId">,
  signature: Uint8Array,
): boolean {
  const opened = open(key, signature);
  if (opened === undefined) return false;
  const { encoding, hash, saltLength } = input;
  if (encoding !== "pss") return opened.equals(encodeMessage(key, input));
  const salt = hash === undefined ? undefined : pssSaltOf(hash, opened);
  if (salt === undefined || (saltLength ?? salt.length) !== salt.length) return false;
  return opened.equals(encodeMessage(key, { ...input, salt }));
}

/** y^e mod N; undefined for what is no number below N of its length. */
function open(key: PublicKey, signature: Uint8Array): Buffer | undefined {
  if (signature.length !== key.modulus.length) return undefined;
  const options = { key: publicKeyObject(key), padding: constants.RSA_NO_PADDING };
  try {
    return publicEncrypt(options, signature);
  } catch {
    return undefined;
  }
}

/** The DER of its SubjectPublicKeyInfo, as `thsm key public` writes it in PEM. */
export function publicKeyDer(key: Pick<PublicKey, "modulus" | "publicExponent">): Uint8Array {
  return publicKeyObject(key).export({ type: "spki", format: "der" });
}

/** The key as node:crypto knows it. */
export function publicKeyObject({
  modulus,
  publicExponent,
}: Pick<PublicKey, "modulus" | "publicExponent">): KeyObject {
  const jwk = { kty: "RSA", n: toBase64url(modulus), e: toBase64url(publicExponent) };
  return createPublicKey({ key: jwk, format: "jwk" });
}
