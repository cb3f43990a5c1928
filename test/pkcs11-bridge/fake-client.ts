/**
 * @module A whole HSM in one object, for the tests of the bridge: real RSA by node:crypto, a state
 * file that survives `kill -9`, and failures on demand. Not a threshold scheme at all.
 */
import {
  constants,
  createHash,
  createPrivateKey,
  generateKeyPair,
  privateDecrypt,
  privateEncrypt,
  randomBytes,
  type KeyObject,
} from "node:crypto";
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type {
  CallOptions,
  DecryptInput,
  DestroyResult,
  GenerateKeyOptions,
  Hash,
  HsmClient,
  KeyInfo,
  Names,
  PinState,
  SigningSession,
  SignInput,
  StoreObjectOptions,
  TokenObject,
} from "../../src/client/api.js";
import { unpad } from "../../src/client/padding.js";
import { HsmError, WrongPinError, type HsmErrorCode } from "../../src/errors.js";
import { IdentityKey } from "../../src/identity/identity-key.js";

interface StoredKey {
  readonly operationId: string;
  readonly pem: string;
  readonly info: KeyInfo;
}

export interface FakeOptions {
  readonly tokens: readonly string[];
  /** Keys and PIN live here when given, else in memory. */
  readonly stateFile?: string;
  readonly pin?: string;
  readonly signDelayMs?: number;
  readonly keygenDelayMs?: number;
  /** So many keys on the first token that are only for show. */
  readonly keyCount?: number;
  /** Each key generation that begins adds a line. */
  readonly traceFile?: string;
}

const digestInfoPrefixes: Readonly<Record<Hash, string>> = {
  sha1: "3021300906052b0e03021a05000414",
  sha224: "302d300d06096086480165030402040500041c",
  sha256: "3031300d060960864801650304020105000420",
  sha384: "3041300d060960864801650304020205000430",
  sha512: "3051300d060960864801650304020305000440",
};

const maxWrongPins = 3;

export class FakeClient implements HsmClient {
  readonly name = "fake";
  readonly tokens: readonly string[];
  connected = true;
  keysRevision = 1;
  unlocked = false;
  pin: string;
  /** Every call but lock() fails with this while it is set. */
  failure: HsmErrorCode | undefined;
  signs = 0;
  generations = 0;
  inFlight = 0;
  maxInFlight = 0;
  readonly openedFor: string[] = [];
  readonly prepared: number[] = [];
  readonly #options: FakeOptions;
  readonly #keys: StoredKey[] = [];
  readonly #objects: TokenObject[] = [];
  readonly #parsed = new Map<string, KeyObject>();
  readonly #identity = new IdentityKey(randomBytes(32));
  #wrongPins = 0;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.tokens = options.tokens;
    this.pin = options.pin ?? "1234";
    if (options.stateFile !== undefined && existsSync(options.stateFile)) {
      const stored = JSON.parse(readFileSync(options.stateFile, "utf8"), revive) as StoredKey[];
      this.#keys.push(...stored);
      this.keysRevision += stored.length;
    }
    for (let i = 0; i < (options.keyCount ?? 0); i++) this.#keys.push(this.#forShow(i));
  }

  async unlock(pin: string): Promise<Uint8Array> {
    this.#maybeFail();
    this.#checkPin(pin);
    this.unlocked = true;
    return this.#ticket();
  }

  async pinState(): Promise<PinState> {
    this.#maybeFail();
    return { wrong: this.#wrongPins, left: maxWrongPins - this.#wrongPins };
  }

  async changePin(oldPin: string, newPin: string): Promise<Uint8Array> {
    this.#maybeFail();
    this.#checkPin(oldPin);
    this.pin = newPin;
    return this.#ticket();
  }

  async checkRecoveryCode(recoveryCode: string): Promise<void> {
    this.#maybeFail();
    if (recoveryCode !== "recovery") throw new HsmError("ERR_WRONG_PIN", "wrong recovery code");
  }

  async resetPin(recoveryCode: string, newPin: string): Promise<Uint8Array> {
    await this.checkRecoveryCode(recoveryCode);
    if (newPin.length < 4) throw new HsmError("ERR_INVALID_ARGUMENT", "a PIN has 4 to 255 bytes");
    this.#wrongPins = 0;
    this.pin = newPin;
    return this.#ticket();
  }

  async unlockWithTicket(ticket: Uint8Array): Promise<void> {
    this.#maybeFail();
    if (!this.#ticket().equals(ticket)) throw new HsmError("ERR_WRONG_PIN", "stale ticket");
    this.unlocked = true;
  }

  lock(): void {
    this.unlocked = false;
  }

  async keys(token: string): Promise<readonly KeyInfo[]> {
    this.#maybeFail();
    return this.#keys.filter(({ info }) => info.token === token).map(({ info }) => info);
  }

  async generateKey(options: GenerateKeyOptions): Promise<KeyInfo> {
    this.#maybeFail();
    const operationId = Buffer.from(options.operationId ?? randomBytes(16)).toString("hex");
    const before = this.#keys.find((stored) => stored.operationId === operationId);
    if (before !== undefined) return before.info;
    this.generations++;
    if (this.#options.traceFile !== undefined) appendFileSync(this.#options.traceFile, "key\n");
    await delay(this.#options.keygenDelayMs ?? 0, undefined, { signal: options.signal });
    const modulusBits = options.modulusBits ?? 2048;
    const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: modulusBits });
    const info: KeyInfo = {
      keyId: randomBytes(16).toString("hex"),
      token: options.token,
      label: options.label,
      id: options.id ?? randomBytes(20),
      algorithm: "rsa",
      modulusBits,
      modulus: Buffer.from(privateKey.export({ format: "jwk" }).n ?? "", "base64url"),
      publicExponent: Uint8Array.of(1, 0, 1),
      threshold: 2,
      parties: ["a", "b", "c"],
      policy: {
        encodings: options.policy?.encodings ?? ["pkcs1v15"],
        hashes: ["sha256"],
        maxInputs: 64,
        proofs: "on-failure",
      },
      state: "active",
      createdAt: new Date().toISOString(),
    };
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    this.#keys.push({ operationId, pem, info });
    this.#changed();
    return info;
  }

  async destroyKey(keyId: string): Promise<DestroyResult> {
    this.#maybeFail();
    const index = this.#keys.findIndex(({ info }) => info.keyId === keyId);
    if (index < 0) throw new HsmError("ERR_UNKNOWN_KEY", "no such key");
    this.#keys.splice(index, 1);
    this.#changed();
    const erased = ["a", "b", "c"];
    return { keyId, threshold: 2, erased, pending: [], beyondRecovery: true };
  }

  async relabelKey(keyId: string, { label, id }: Names): Promise<void> {
    this.#maybeFail();
    const index = this.#keys.findIndex(({ info }) => info.keyId === keyId);
    const stored = this.#keys[index];
    if (stored === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "no such key");
    const { info } = stored;
    const renamed = { ...info, label: label ?? info.label, id: id ?? info.id };
    this.#keys[index] = { ...stored, info: renamed };
    this.#changed();
  }

  async objects(token: string): Promise<readonly TokenObject[]> {
    this.#maybeFail();
    return this.#objects.filter((one) => one.token === token);
  }

  async storeObject(options: StoreObjectOptions): Promise<TokenObject> {
    this.#maybeFail();
    const { token, kind, label, id, value, fields = {} } = options;
    const objectId = Buffer.from(options.operationId ?? randomBytes(16)).toString("hex");
    const known = this.#objects.find((one) => one.objectId === objectId);
    if (known !== undefined) return known;
    const object = { objectId, token, kind, label, id, value, fields };
    this.#objects.push(object);
    this.#changed();
    return object;
  }

  async relabelObject(objectId: string, { label, id }: Names): Promise<void> {
    this.#maybeFail();
    const index = this.#objects.findIndex((one) => one.objectId === objectId);
    const known = this.#objects[index];
    if (known === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "no such object");
    this.#objects[index] = { ...known, label: label ?? known.label, id: id ?? known.id };
    this.#changed();
  }

  async removeObject(objectId: string): Promise<void> {
    this.#maybeFail();
    const index = this.#objects.findIndex((one) => one.objectId === objectId);
    if (index < 0) throw new HsmError("ERR_UNKNOWN_KEY", "no such object");
    this.#objects.splice(index, 1);
    this.#changed();
  }

  async openSession(token: string, application: string): Promise<SigningSession> {
    this.#maybeFail();
    this.openedFor.push(application);
    return {
      id: randomBytes(16).toString("base64url"),
      token,
      sign: (input, options) => this.#sign(input, options),
      decrypt: (input) => this.#decrypt(input),
      close: async () => {},
    };
  }

  prepareKey(modulusBits: number): void {
    this.prepared.push(modulusBits);
  }

  async close(): Promise<void> {}

  async #sign(input: SignInput, options?: CallOptions): Promise<Uint8Array> {
    this.#maybeFail();
    if (!this.unlocked) throw new HsmError("ERR_NOT_LOGGED_IN", "locked");
    this.signs++;
    this.inFlight++;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
    try {
      await delay(this.#options.signDelayMs ?? 0, undefined, { signal: options?.signal });
      const stored = this.#keys.find(({ info }) => info.keyId === input.keyId);
      if (stored === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "no such key");
      const key = this.#parsed.get(input.keyId) ?? createPrivateKey(stored.pem);
      this.#parsed.set(input.keyId, key);
      return privateEncrypt({ key, ...padding(input) }, block(input, stored.info));
    } finally {
      this.inFlight--;
    }
  }

  #checkPin(pin: string): void {
    if (this.#wrongPins >= maxWrongPins) throw new HsmError("ERR_PIN_LOCKED", "PIN locked");
    if (pin !== this.pin) {
      this.#wrongPins++;
      throw new WrongPinError(maxWrongPins - this.#wrongPins, "wrong PIN");
    }
    this.#wrongPins = 0;
  }

  async #decrypt(input: DecryptInput): Promise<Uint8Array> {
    this.#maybeFail();
    if (!this.unlocked) throw new HsmError("ERR_NOT_LOGGED_IN", "locked");
    const stored = this.#keys.find(({ info }) => info.keyId === input.keyId);
    if (stored === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "no such key");
    const key = createPrivateKey(stored.pem);
    if (input.ciphertext.every((byte) => byte === 0)) {
      throw new HsmError("ERR_DECRYPT_FAILED", "cannot decrypt");
    }
    let opened;
    try {
      opened = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, input.ciphertext);
    } catch {
      throw new HsmError("ERR_DECRYPT_FAILED", "cannot decrypt");
    }
    return unpad(opened, input, this.#identity);
  }

  #forShow(number: number): StoredKey {
    const info: KeyInfo = {
      keyId: randomBytes(16).toString("hex"),
      token: this.tokens[0] ?? "",
      label: `key ${number}`,
      id: randomBytes(20),
      algorithm: "rsa",
      modulusBits: 2048,
      modulus: Buffer.concat([Buffer.of(0x80), randomBytes(255)]),
      publicExponent: Uint8Array.of(1, 0, 1),
      threshold: 2,
      parties: ["a", "b", "c"],
      policy: { encodings: ["pkcs1v15"], hashes: ["sha256"], maxInputs: 64, proofs: "on-failure" },
      state: "active",
      createdAt: new Date().toISOString(),
    };
    return { operationId: info.keyId, pem: "", info };
  }

  #ticket(): Buffer {
    return createHash("sha256").update(`ticket ${this.pin}`).digest();
  }

  #maybeFail(): void {
    if (this.failure !== undefined) throw new HsmError(this.failure, "failure on demand");
  }

  #changed(): void {
    this.keysRevision++;
    const file = this.#options.stateFile;
    if (file === undefined) return;
    writeFileSync(`${file}.new`, JSON.stringify(this.#keys));
    renameSync(`${file}.new`, file);
  }
}

function padding({ encoding }: SignInput): { padding: number } {
  const isBlock = encoding === "raw" || encoding === "pss";
  return { padding: isBlock ? constants.RSA_NO_PADDING : constants.RSA_PKCS1_PADDING };
}

function block(input: SignInput, key: KeyInfo): Uint8Array {
  if (input.encoding === "pss") return emsaPss(input, key);
  if (input.hash === undefined) return input.data;
  return Buffer.concat([Buffer.from(digestInfoPrefixes[input.hash], "hex"), input.data]);
}

/** RFC 8017 section 9.1.1. */
function emsaPss({ hash, data, saltLength }: SignInput, { modulusBits }: KeyInfo): Buffer {
  if (hash === undefined) throw new HsmError("ERR_INVALID_ARGUMENT", "hash missing");
  const length = modulusBits / 8;
  const salt = randomBytes(saltLength ?? data.length);
  const digest = createHash(hash).update(Buffer.alloc(8)).update(data).update(salt).digest();
  const db = Buffer.alloc(length - digest.length - 1);
  if (db.length < salt.length + 1) throw new HsmError("ERR_INVALID_ARGUMENT", "salt too long");
  db[db.length - salt.length - 1] = 1;
  salt.copy(db, db.length - salt.length);
  for (let counter = 0, at = 0; at < db.length; counter++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    for (const byte of createHash(hash).update(digest).update(number).digest()) {
      if (at < db.length) db.writeUInt8(db.readUInt8(at) ^ byte, at);
      at++;
    }
  }
  db.writeUInt8(db.readUInt8(0) & 0x7f, 0);
  return Buffer.concat([db, digest, Buffer.of(0xbc)]);
}

/** Buffers come out of JSON as `{type: "Buffer", data}`; typed arrays as objects with indices. */
function revive(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("type" in value && value.type === "Buffer" && "data" in value) {
    return Buffer.from(value.data as number[]);
  }
  return "0" in value && !Array.isArray(value) ? Uint8Array.from(Object.values(value)) : value;
}
