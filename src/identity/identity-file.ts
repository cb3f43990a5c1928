/**
 * @module The file that an identity key rests in: JSON, mode 0600. A node's seed lies in it as it
 * is (the node must start without a person); a client's is encrypted under the PIN, so that a
 * login really unlocks the right to sign.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { Equals, IsIn, IsInt, Matches, Max, Min, ValidateIf } from "class-validator";
import { asHsmError, HsmError } from "../errors.js";
import { parseJson, validated } from "../validate.js";
import { fromBase64url, toBase64url } from "./encoding.js";
import { IdentityKey, IdentityPublicKey, seedLength } from "./identity-key.js";
import { memberName } from "./names.js";
import { readSecretFile, writeSecretFile } from "./secret-file.js";

// RFC 7914; 32 MiB and about 0.1 s a guess.
const cost = { scryptN: 32768, scryptR: 8, scryptP: 1 };
const ticketLength = 32;
const nonceLength = 12;
const tagLength = 16;

class IdentityFileContent {
  @Equals(1) readonly version!: number;
  @Matches(memberName) readonly name!: string;
  /** 32 bytes, base64url. */
  @Matches(/^[\w-]{43}$/) readonly publicKey!: string;
  @IsIn(["none", "pin"]) readonly protection!: string;
  /** "none": the seed. "pin": AES-256-GCM ciphertext and tag. base64url. */
  @Matches(/^[\w-]{43}$|^[\w-]{64}$/) readonly secret!: string;
  // The rest exactly with a PIN: 16 and 12 bytes, base64url, and the parameters of scrypt.
  @ValidateIf(hasPin) @Matches(/^[\w-]{22}$/) readonly salt?: string;
  @ValidateIf(hasPin) @Matches(/^[\w-]{16}$/) readonly nonce?: string;
  @ValidateIf(hasPin) @IsInt() @Min(1024) @Max(1048576) readonly scryptN?: number;
  @ValidateIf(hasPin) @IsInt() @Min(1) @Max(32) readonly scryptR?: number;
  @ValidateIf(hasPin) @IsInt() @Min(1) @Max(16) readonly scryptP?: number;
}

function hasPin({ protection }: IdentityFileContent): boolean {
  return protection !== "none";
}

/** What anybody may know of an identity file. */
export interface IdentityFile {
  readonly name: string;
  readonly publicKey: IdentityPublicKey;
  readonly pinProtected: boolean;
  /**
   * The key and the ticket (32 secret bytes, the key-encryption key) that opens the file again
   * without the PIN, until the PIN changes. Slow by design.
   * @throws HsmError `ERR_WRONG_PIN`
   */
  open(pin: string): Promise<{ key: IdentityKey; ticket: Uint8Array }>;
  /** @throws HsmError `ERR_WRONG_PIN` when the ticket is not (or no longer) this file's. */
  openWithTicket(ticket: Uint8Array): IdentityKey;
  /** The key of a file without PIN. @throws HsmError `ERR_NOT_LOGGED_IN` when there is one. */
  openUnprotected(): IdentityKey;
}

/** Writes a new identity for `name`, encrypted when a PIN is given. Returns its public half. */
export async function createIdentityFile(
  path: string,
  name: string,
  pin?: string,
): Promise<IdentityPublicKey> {
  const seed = randomBytes(seedLength);
  const { publicKey } = new IdentityKey(seed);
  const head = { version: 1, name, publicKey: publicKey.text };
  const content =
    pin === undefined
      ? { ...head, protection: "none", secret: toBase64url(seed) }
      : { ...head, protection: "pin", ...(await encryptSeed(seed, pin, head)) };
  seed.fill(0);
  await writeSecretFile(path, `${JSON.stringify(content, null, 2)}\n`);
  return publicKey;
}

/** @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE` */
export async function readIdentityFile(path: string): Promise<IdentityFile> {
  const bytes = await readSecretFile(path);
  let content: IdentityFileContent;
  let publicKey: IdentityPublicKey;
  try {
    content = validated(IdentityFileContent, parseJson(bytes), "ERR_INVALID_CONFIG");
    for (const field of ["secret", "salt", "nonce"] as const) {
      fromBase64url(content[field] ?? "", field);
    }
    publicKey = new IdentityPublicKey(fromBase64url(content.publicKey, "publicKey"));
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path} is not an identity file`, { cause });
  } finally {
    bytes.fill(0);
  }
  const pinProtected = content.protection === "pin";

  const fromSeed = (seed: Uint8Array): IdentityKey => {
    const key = seed.length === seedLength ? new IdentityKey(seed) : undefined;
    seed.fill(0);
    if (key?.publicKey.text !== publicKey.text) {
      throw new HsmError("ERR_INVALID_CONFIG", `${path}: secret and public key do not match`);
    }
    return key;
  };

  return {
    name: content.name,
    publicKey,
    pinProtected,
    async open(pin) {
      let ticket;
      try {
        ticket = await deriveKey(pin, content);
      } catch (cause) {
        throw asHsmError(cause, "ERR_INVALID_CONFIG", `${path}: scrypt takes no such parameters`);
      }
      return { key: fromSeed(decryptSeed(content, ticket)), ticket };
    },
    openWithTicket: (ticket) => fromSeed(decryptSeed(content, ticket)),
    openUnprotected() {
      if (pinProtected) throw new HsmError("ERR_NOT_LOGGED_IN", `${path} is opened by a PIN`);
      return fromSeed(fromBase64url(content.secret, "secret"));
    },
  };
}

async function encryptSeed(
  seed: Uint8Array,
  pin: string,
  head: { name: string; publicKey: string },
): Promise<object> {
  const nonce = randomBytes(nonceLength);
  const parameters = { salt: toBase64url(randomBytes(16)), ...cost };
  const key = await deriveKey(pin, parameters);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(associatedData(head));
  const secret = Buffer.concat([cipher.update(seed), cipher.final(), cipher.getAuthTag()]);
  key.fill(0);
  return { ...parameters, nonce: toBase64url(nonce), secret: toBase64url(secret) };
}

function decryptSeed(content: IdentityFileContent, ticket: Uint8Array): Uint8Array {
  const sealed = fromBase64url(content.secret, "secret");
  const nonce = fromBase64url(content.nonce ?? "", "nonce");
  try {
    const decipher = createDecipheriv("aes-256-gcm", ticket, nonce, { authTagLength: tagLength });
    decipher.setAAD(associatedData(content));
    decipher.setAuthTag(sealed.subarray(-tagLength));
    // In this mode the seed comes in one piece, and a wrong key shows in the end.
    const seed = decipher.update(sealed.subarray(0, -tagLength));
    decipher.final();
    return seed;
  } catch {
    throw new HsmError("ERR_WRONG_PIN", `the PIN does not open the identity of ${content.name}`);
  }
}

async function deriveKey(
  pin: string,
  parameters: { salt?: string; scryptN?: number; scryptR?: number; scryptP?: number },
): Promise<Buffer> {
  const { salt = "", scryptN: N, scryptR: r, scryptP: p } = { ...cost, ...parameters };
  const password = Buffer.from(pin, "utf8");
  const options = { N, r, p, maxmem: 256 * N * r };
  return await new Promise((resolve, reject) => {
    scrypt(password, fromBase64url(salt, "salt"), ticketLength, options, (error, key) => {
      password.fill(0);
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

function associatedData(head: { name: string; publicKey: string }): Buffer {
  return Buffer.from(`thsm identity v1\0${head.name}\0${head.publicKey}`, "utf8");
}
