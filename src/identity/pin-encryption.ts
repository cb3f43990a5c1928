/** @module A seed encrypted under something that a person knows: scrypt (RFC 7914), AES-256-GCM. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { fromBase64url, toBase64url } from "./encoding.js";

/** Of new files; 32 MiB and about 0.1 s a guess. */
export const cost = { scryptN: 32768, scryptR: 8, scryptP: 1 };
const keyLength = 32;
const nonceLength = 12;
const tagLength = 16;

/** base64url. `secret` is ciphertext and tag. */
export interface Sealed {
  readonly salt: string;
  readonly nonce: string;
  readonly secret: string;
}

/** The key-encryption key. Slow by design. Throws what scrypt throws for impossible parameters. */
export async function deriveKey(
  text: string,
  salt: string,
  parameters: { scryptN?: number; scryptR?: number; scryptP?: number },
): Promise<Uint8Array> {
  const { scryptN: N, scryptR: r, scryptP: p } = { ...cost, ...parameters };
  const password = Buffer.from(text, "utf8");
  const options = { N, r, p, maxmem: 256 * N * r };
  return await new Promise((resolve, reject) => {
    scrypt(password, fromBase64url(salt, "salt"), keyLength, options, (error, key) => {
      password.fill(0);
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

export function sealSeed(
  seed: Uint8Array,
  salt: string,
  key: Uint8Array,
  associatedData: Uint8Array,
): Sealed {
  const nonce = randomBytes(nonceLength);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(associatedData);
  const secret = Buffer.concat([cipher.update(seed), cipher.final(), cipher.getAuthTag()]);
  return { salt, nonce: toBase64url(nonce), secret: toBase64url(secret) };
}

/** Undefined when the key is not the one that it was sealed with. */
export function openSeed(
  { nonce, secret }: Sealed,
  key: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array | undefined {
  const sealed = fromBase64url(secret, "secret");
  try {
    const iv = fromBase64url(nonce, "nonce");
    const decipher = createDecipheriv("aes-256-gcm", key, iv, { authTagLength: tagLength })
      .setAAD(associatedData)
      .setAuthTag(sealed.subarray(-tagLength));
    // In this mode the seed comes in one piece, and a wrong key shows in the end.
    const seed = decipher.update(sealed.subarray(0, -tagLength));
    decipher.final();
    return seed;
  } catch {
    return undefined;
  }
}
