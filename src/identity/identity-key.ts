/**
 * @module Identity keys: the Ed25519 key (RFC 8032) with which a member signs every message it
 * stores. It is never the key that logs in to NATS: a login signs whatever the server sends.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { HsmError } from "../errors.js";
import { toBase64url } from "./encoding.js";

export const seedLength = 32;
const publicKeyLength = 32;
// RFC 8410: the fixed DER that stands before a raw Ed25519 key.
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** The public half, as it stands in cluster.toml. Anybody may see it. */
export class IdentityPublicKey {
  /** 32 bytes, base64url. */
  readonly text: string;
  /** The first 16 hex digits of SHA-256 of the 32 bytes: names the key in message headers. */
  readonly keyId: string;
  readonly #key: KeyObject;

  /** @throws HsmError `ERR_INVALID_ARGUMENT` unless `bytes` are a 32-byte Ed25519 key. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== publicKeyLength) {
      throw new HsmError(
        "ERR_INVALID_ARGUMENT",
        `identity key: expected ${publicKeyLength} bytes, got ${bytes.length}`,
      );
    }
    this.text = toBase64url(bytes);
    this.keyId = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
    this.#key = createPublicKey({
      key: Buffer.concat([spkiPrefix, bytes]),
      format: "der",
      type: "spki",
    });
  }

  verify(message: Uint8Array, signature: Uint8Array): boolean {
    return verify(null, message, this.#key, signature);
  }
}

/** The secret half. Lives in memory of its owner only; private fields stay out of every printout. */
export class IdentityKey {
  readonly publicKey: IdentityPublicKey;
  readonly #key: KeyObject;

  /** `seed`: 32 secret bytes; the caller erases them. */
  constructor(seed: Uint8Array) {
    if (seed.length !== seedLength) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `identity seed must have ${seedLength} bytes`);
    }
    const der = Buffer.concat([pkcs8Prefix, seed]);
    this.#key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    der.fill(0);
    const spki = createPublicKey(this.#key).export({ format: "der", type: "spki" });
    this.publicKey = new IdentityPublicKey(spki.subarray(spkiPrefix.length));
  }

  sign(message: Uint8Array): Uint8Array {
    return sign(null, message, this.#key);
  }

  toJSON(): string {
    return `[IdentityKey ${this.publicKey.keyId}]`;
  }

  toString(): string {
    return this.toJSON();
  }
}
