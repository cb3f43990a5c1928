/**
 * @module Key shares at rest: one file a key, AES-256-GCM under a key that is derived from the node's
 * secret. A copy of the share files without the secret is worth nothing, and a file that was swapped
 * for another key's, or for an older dealing's, does not open.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { HsmError } from "../errors.js";
import {
  eraseFile,
  isMissing,
  readIfPresent,
  readSecretFile,
  requireSafeDirectory,
  requireSecretFiles,
  writeSecretFile,
} from "../identity/secret-file.js";

const secretLength = 32;
const saltLength = 16;
const nonceLength = 12;
const tagLength = 16;
/** File format 1: magic ‖ salt ‖ nonce ‖ ciphertext ‖ tag. */
const magic = Buffer.from("THSMKS\0\x01", "latin1");
const shareFile = /^([0-9a-f]{32})\.share$/;
/** What a crash in the middle of a write leaves behind. */
const draftFile = /\.tmp$/;

/** What a stored share belongs to. All of it is authenticated. */
export interface ShareBinding {
  readonly key: string;
  readonly epoch: number;
  readonly party: number;
  /** Hash of the `proposed` event. */
  readonly proposal: string;
}

export class KeyStore {
  readonly #directory: string;
  readonly #secret: Buffer;
  readonly #present: Set<string>;

  private constructor(directory: string, secret: Buffer, present: Set<string>) {
    this.#directory = directory;
    this.#secret = secret;
    this.#present = present;
  }

  /**
   * Opens the shares below `dataDir`, and makes the node's secret when there is none yet.
   * @throws HsmError `ERR_UNTRUSTED_FILE`; `ERR_INVALID_CONFIG` when there are shares without the
   * secret that opens them
   */
  static async open(dataDir: string): Promise<KeyStore> {
    const directory = join(dataDir, "keys");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const names = await readdir(directory);
    for (const name of names.filter((one) => draftFile.test(one))) {
      await eraseFile(join(directory, name));
    }
    const present = new Set(names.flatMap((name) => shareFile.exec(name)?.[1] ?? []));
    const path = join(dataDir, "secret");
    if ((await readIfPresent(path)) === undefined) {
      if (present.size > 0) {
        throw new HsmError(
          "ERR_INVALID_CONFIG",
          `${path} is missing: restore it, or remove ${directory} and enrol the node under a new identity`,
        );
      }
      await writeSecretFile(path, randomBytes(secretLength));
    }
    const secret = await readSecretFile(path);
    if (secret.length !== secretLength) {
      throw new HsmError("ERR_INVALID_CONFIG", `${path}: expected ${secretLength} bytes`);
    }
    await KeyStore.check(dataDir);
    return new KeyStore(directory, secret, present);
  }

  /**
   * Whether nobody else can read or replace what lies below `dataDir`; changes nothing.
   * @throws HsmError `ERR_UNTRUSTED_FILE`
   */
  static async check(dataDir: string): Promise<void> {
    const directory = join(dataDir, "keys");
    const names = await readIfThere(directory);
    if (names === undefined) return;
    await requireSafeDirectory(directory);
    const shares = names
      .filter((name) => shareFile.test(name))
      .map((name) => join(directory, name));
    await requireSecretFiles(shares.length > 0 ? [join(dataDir, "secret"), ...shares] : []);
  }

  /** Ids of all keys that there is a share of. */
  get keys(): readonly string[] {
    return [...this.#present];
  }

  has(key: string): boolean {
    return this.#present.has(key);
  }

  /** Stores a share durably and atomically. `share` is secret; the caller erases it. */
  async save(binding: ShareBinding, share: Uint8Array): Promise<void> {
    const salt = randomBytes(saltLength);
    const nonce = randomBytes(nonceLength);
    const key = this.#deriveKey(salt, binding.key);
    const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(associatedData(binding));
    const sealed = [cipher.update(share), cipher.final(), cipher.getAuthTag()];
    key.fill(0);
    const bytes = Buffer.concat([magic, salt, nonce, ...sealed]);
    await writeSecretFile(this.#path(binding.key), bytes);
    this.#present.add(binding.key);
  }

  /**
   * The share in clear, which the caller erases.
   * @throws HsmError `ERR_INVALID_KEY_SHARE` when the file is damaged or belongs to another dealing,
   * `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`
   */
  async load(binding: ShareBinding): Promise<Uint8Array> {
    const path = this.#path(binding.key);
    const bytes = await readSecretFile(path);
    const body = magic.length + saltLength + nonceLength;
    if (bytes.length < body + tagLength || !bytes.subarray(0, magic.length).equals(magic)) {
      throw new HsmError("ERR_INVALID_KEY_SHARE", `${path} is not a key share file`);
    }
    const salt = bytes.subarray(magic.length, magic.length + saltLength);
    const key = this.#deriveKey(salt, binding.key);
    const nonce = bytes.subarray(magic.length + saltLength, body);
    let share: Buffer | undefined;
    try {
      const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength })
        .setAAD(associatedData(binding))
        .setAuthTag(bytes.subarray(-tagLength));
      share = decipher.update(bytes.subarray(body, -tagLength));
      // GCM is a stream: nothing is held back, `final` only checks the tag.
      decipher.final();
      return share;
    } catch (cause) {
      share?.fill(0);
      throw new HsmError("ERR_INVALID_KEY_SHARE", `${path} does not open: damaged or swapped`, {
        cause,
      });
    } finally {
      key.fill(0);
    }
  }

  /** Overwrites and removes the share of a key. Does nothing when there is none. */
  async erase(key: string): Promise<void> {
    this.#present.delete(key);
    await eraseFile(this.#path(key));
  }

  #path(key: string): string {
    return join(this.#directory, `${key}.share`);
  }

  #deriveKey(salt: Uint8Array, key: string): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#secret, salt, `thsm/v1 key share\0${key}`, 32));
  }
}

async function readIfThere(directory: string): Promise<string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function associatedData({ key, epoch, party, proposal }: ShareBinding): Buffer {
  return Buffer.from(["thsm/v1 key share", key, epoch, party, proposal].join("\0"), "utf8");
}
