/**
 * @module How a key share travels: sealed by HPKE (RFC 9180, base mode, X25519, HKDF-SHA256,
 * AES-256-GCM) to a key that its receiver made for this one dealing and keeps in memory only.
 * What the work queue or a backup of it still holds later, nobody can open.
 */
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { HsmError } from "../errors.js";
import { fromBase64url, toBase64url } from "../identity/encoding.js";
import { sealingInfo, type SealedShare } from "./deals.js";
import { formatVersion } from "./fields.js";

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

/** What a sealed share is bound to. */
export type Dealing = Pick<
  SealedShare,
  "key" | "epoch" | "client" | "node" | "party" | "proposal" | "sealingKey"
>;

/** A receiver's one-time key. The secret half never leaves this object. */
export interface SealingKey {
  /** base64url of 32 bytes, for the `ready` event. */
  readonly publicKey: string;
  /**
   * The plaintext share, which the caller erases.
   * @throws HsmError `ERR_INVALID_KEY_SHARE` when it was not sealed for this dealing and key
   */
  open(sealed: SealedShare): Promise<Uint8Array>;
}

export async function createSealingKey(): Promise<SealingKey> {
  const pair = await suite.kem.generateKeyPair();
  const publicKey = toBase64url(new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey)));
  return {
    publicKey,
    async open(sealed) {
      if (sealed.sealingKey !== publicKey) {
        throw new HsmError("ERR_INVALID_KEY_SHARE", "the share is sealed to another one-time key");
      }
      try {
        const plain = await suite.open(
          {
            recipientKey: pair,
            enc: fromBase64url(sealed.enc, "enc"),
            info: sealingInfo(sealed),
          },
          fromBase64url(sealed.ciphertext, "ciphertext"),
        );
        return new Uint8Array(plain);
      } catch (cause) {
        throw new HsmError("ERR_INVALID_KEY_SHARE", "cannot open the sealed share", { cause });
      }
    },
  };
}

/** Seals a serialized key share to a node's one-time key. `share` is secret; the caller erases it. */
export async function sealShare(dealing: Dealing, share: Uint8Array): Promise<SealedShare> {
  const recipientPublicKey = await suite.kem.deserializePublicKey(
    fromBase64url(dealing.sealingKey, "sealingKey"),
  );
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: sealingInfo(dealing) }, share);
  return {
    version: formatVersion,
    ...dealing,
    enc: toBase64url(new Uint8Array(enc)),
    ciphertext: toBase64url(new Uint8Array(ct)),
  };
}
