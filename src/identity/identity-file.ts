/**
 * @module The file that an identity key rests in: JSON, mode 0600. A node's seed lies in it as it
 * is (the node must start without a person); a client's is encrypted under the PIN, so that a
 * login really unlocks the right to sign, and once more under a recovery code that is kept elsewhere.
 */
import { randomBytes } from "node:crypto";
import { Equals, IsIn, IsInt, Matches, Max, Min, ValidateIf } from "class-validator";
import { asHsmError, HsmError } from "../errors.js";
import { parseJson, validated } from "../validate.js";
import { fromBase64url, toBase64url } from "./encoding.js";
import { IdentityKey, IdentityPublicKey, seedLength } from "./identity-key.js";
import { memberName } from "./names.js";
import { cost, deriveKey, openSeed, sealSeed, type Sealed } from "./pin-encryption.js";
import { normalizedRecoveryCode } from "./recovery-code.js";
import { readSecretFile, writeSecretFile } from "./secret-file.js";

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
  // The same seed under the recovery code, when there is one; parameters as above.
  @ValidateIf(hasRecovery) @Matches(/^[\w-]{22}$/) readonly recoverySalt?: string;
  @ValidateIf(hasRecovery) @Matches(/^[\w-]{16}$/) readonly recoveryNonce?: string;
  @ValidateIf(hasRecovery) @Matches(/^[\w-]{64}$/) readonly recoverySecret?: string;
}

function hasPin({ protection }: IdentityFileContent): boolean {
  return protection !== "none";
}

function hasRecovery(content: IdentityFileContent): boolean {
  return content.recoverySecret !== undefined;
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
  /**
   * Puts the file under a new PIN, and returns that one's ticket. All older tickets are stale then.
   * @throws HsmError `ERR_WRONG_PIN`, `ERR_INVALID_ARGUMENT` for a new PIN that is none
   */
  changePin(oldPin: string, newPin: string): Promise<Uint8Array>;
  /** Whether it is this file's. @throws HsmError `ERR_WRONG_PIN`, `ERR_INVALID_ARGUMENT` when it has none */
  checkRecoveryCode(recoveryCode: string): Promise<void>;
  /** The same with the recovery code. @throws HsmError `ERR_WRONG_PIN`, `ERR_INVALID_ARGUMENT` */
  resetPin(recoveryCode: string, newPin: string): Promise<Uint8Array>;
  /** The key of a file without PIN. @throws HsmError `ERR_NOT_LOGGED_IN` when there is one. */
  openUnprotected(): IdentityKey;
}

/** What a client's identity is encrypted under. */
export interface Protection {
  readonly pin: string;
  /** From `newRecoveryCode`. Without one a forgotten PIN is the end of the identity. */
  readonly recoveryCode?: string;
}

/** Writes a new identity for `name`, encrypted when a PIN is given. Returns its public half. */
export async function createIdentityFile(
  path: string,
  name: string,
  protection?: string | Protection,
): Promise<IdentityPublicKey> {
  const seed = randomBytes(seedLength);
  const { publicKey } = new IdentityKey(seed);
  const head = { version: 1, name, publicKey: publicKey.text };
  const { pin, recoveryCode } =
    typeof protection === "object" ? protection : { pin: protection, recoveryCode: undefined };
  let content: object = { ...head, protection: "none", secret: toBase64url(seed) };
  if (pin !== undefined) {
    const underPin = await sealUnderPin(seed, pin, head);
    const { sealed } = underPin;
    underPin.ticket.fill(0);
    content = { ...head, protection: "pin", ...cost, ...sealed };
    if (recoveryCode !== undefined) {
      content = { ...content, ...(await sealUnderCode(seed, recoveryCode, head)) };
    }
  }
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
    for (const field of encodedFields) {
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

  const derive = async (secret: string, salt: string): Promise<Uint8Array> => {
    try {
      return await deriveKey(secret, salt, content);
    } catch (cause) {
      throw asHsmError(cause, "ERR_INVALID_CONFIG", `${path}: scrypt takes no such parameters`);
    }
  };
  const openWithTicket = (ticket: Uint8Array): Uint8Array => {
    const { salt = "", nonce = "", secret } = content;
    const seed = openSeed({ salt, nonce, secret }, ticket, pinData(content));
    if (seed !== undefined) return seed;
    throw new HsmError("ERR_WRONG_PIN", `the PIN does not open the identity of ${content.name}`);
  };
  const openWithCode = async (recoveryCode: string): Promise<Uint8Array> => {
    const { recoverySalt: salt, recoveryNonce: nonce, recoverySecret: secret } = content;
    if (salt === undefined || nonce === undefined || secret === undefined) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `${path} was made without a recovery code`);
    }
    const key = await derive(normalizedRecoveryCode(recoveryCode), salt);
    const seed = openSeed({ salt, nonce, secret }, key, recoveryData(content));
    key.fill(0);
    if (seed !== undefined) return seed;
    throw new HsmError(
      "ERR_WRONG_PIN",
      `the recovery code does not open the identity of ${content.name}`,
    );
  };
  const reseal = async (seed: Uint8Array, newPin: string): Promise<Uint8Array> => {
    requirePin(newPin);
    const { sealed, ticket } = await sealUnderPin(seed, newPin, content);
    // The parameters are of this file: the recovery code's encryption is under them too.
    const text = `${JSON.stringify(Object.assign({}, content, sealed), null, 2)}\n`;
    await writeSecretFile(path, text, path);
    return ticket;
  };

  return {
    name: content.name,
    publicKey,
    pinProtected,
    async open(pin) {
      const ticket = await derive(pin, content.salt ?? "");
      return { key: fromSeed(openWithTicket(ticket)), ticket };
    },
    openWithTicket: (ticket) => fromSeed(openWithTicket(ticket)),
    async changePin(oldPin, newPin) {
      requirePin(newPin);
      const ticket = await derive(oldPin, content.salt ?? "");
      const seed = openWithTicket(ticket);
      ticket.fill(0);
      try {
        return await reseal(seed, newPin);
      } finally {
        seed.fill(0);
      }
    },
    async checkRecoveryCode(recoveryCode) {
      (await openWithCode(recoveryCode)).fill(0);
    },
    async resetPin(recoveryCode, newPin) {
      requirePin(newPin);
      const seed = await openWithCode(recoveryCode);
      try {
        return await reseal(seed, newPin);
      } finally {
        seed.fill(0);
      }
    },
    openUnprotected() {
      if (pinProtected) throw new HsmError("ERR_NOT_LOGGED_IN", `${path} is opened by a PIN`);
      return fromSeed(fromBase64url(content.secret, "secret"));
    },
  };
}

const encodedFields = [
  "secret",
  "salt",
  "nonce",
  "recoverySalt",
  "recoveryNonce",
  "recoverySecret",
] as const;

/** For a new PIN. @throws HsmError `ERR_INVALID_ARGUMENT` */
export function requirePin(pin: string): void {
  const size = Buffer.byteLength(pin, "utf8");
  if (size < minPinBytes || size > maxPinBytes || /\p{Cc}/u.test(pin)) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `a PIN has ${minPinBytes} to ${maxPinBytes} bytes and no control characters`,
    );
  }
}

const minPinBytes = 4;
/** What PKCS#11 programs can pass on. */
const maxPinBytes = 255;

interface Head {
  readonly name: string;
  readonly publicKey: string;
}

async function sealUnderPin(
  seed: Uint8Array,
  pin: string,
  head: Head & Partial<typeof cost>,
): Promise<{ sealed: Sealed; ticket: Uint8Array }> {
  const salt = toBase64url(randomBytes(16));
  const ticket = await deriveKey(pin, salt, { ...cost, ...head });
  return { sealed: sealSeed(seed, salt, ticket, pinData(head)), ticket };
}

async function sealUnderCode(seed: Uint8Array, code: string, head: Head): Promise<object> {
  const recoverySalt = toBase64url(randomBytes(16));
  const key = await deriveKey(normalizedRecoveryCode(code), recoverySalt, cost);
  const { nonce, secret } = sealSeed(seed, recoverySalt, key, recoveryData(head));
  key.fill(0);
  return { recoverySalt, recoveryNonce: nonce, recoverySecret: secret };
}

function pinData({ name, publicKey }: Head): Buffer {
  return Buffer.from(`thsm identity v1\0${name}\0${publicKey}`, "utf8");
}

function recoveryData({ name, publicKey }: Head): Buffer {
  return Buffer.from(`thsm identity v1 recovery\0${name}\0${publicKey}`, "utf8");
}
