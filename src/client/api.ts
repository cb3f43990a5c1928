/**
 * @module The shapes of the client's public face: what programs, the command line and the PKCS#11
 * daemon see. Types only.
 */
import type { PinState } from "../identity/pin-attempts.js";

export type { PinState };

/**
 * How a digest becomes the number that is signed (RFC 8017 section 9); "decrypt", for keys that
 * may open ciphertexts; and "checkpoint", for the one thing that the cluster says about its own history.
 */
export const encodings = [
  "pkcs1v15",
  "pss",
  "pkcs1v15-opaque",
  "raw",
  "decrypt",
  "checkpoint",
] as const;
export type Encoding = (typeof encodings)[number];

export const hashes = ["sha1", "sha224", "sha256", "sha384", "sha512"] as const;
export type Hash = (typeof hashes)[number];

/** What to sign: never a whole document, always something every node can rebuild and judge. */
export interface SignInput {
  /** The key's id: 32 lower-case hex digits. */
  readonly keyId: string;
  readonly encoding: Exclude<Encoding, "decrypt">;
  /** The digest's algorithm. Absent exactly for "pkcs1v15-opaque" and "raw". */
  readonly hash?: Hash;
  /**
   * The digest (its length fits `hash`); for "pkcs1v15-opaque" the bytes to pad; for "raw" the
   * whole block of the modulus' length.
   */
  readonly data: Uint8Array;
  /** For "pss": bytes of salt, 0…64; default the hash's length. */
  readonly saltLength?: number;
}

/** How a message becomes the number that is encrypted (RFC 8017 section 7). */
export interface Padding {
  readonly padding: "pkcs1v15" | "oaep" | "none";
  /** For "oaep": the label's hash. */
  readonly hash?: Hash;
  /** For "oaep": the mask's hash; default `hash`. */
  readonly maskHash?: Hash;
  /** For "oaep"; default empty. */
  readonly label?: Uint8Array;
}

/** What to decrypt. */
export interface DecryptInput extends Padding {
  readonly keyId: string;
  /** As long as the modulus. */
  readonly ciphertext: Uint8Array;
}

export interface CallOptions {
  /** Stop waiting: the call ends in `ERR_ABORTED`. */
  readonly signal?: AbortSignal;
  /** Stop waiting after so many milliseconds: `ERR_QUORUM_NOT_REACHED` or `ERR_DEADLINE`. */
  readonly timeoutMs?: number;
}

/**
 * What the nodes will do with a key. Each node enforces it by itself. A key that decrypts can be made
 * to sign anything, because its ciphertexts are blinded: with "decrypt" there is either nothing else
 * or "raw" as well, which says the same.
 */
export interface KeyPolicy {
  readonly encodings: readonly Encoding[];
  readonly hashes: readonly Hash[];
  /** Most inputs in one request, 1…64. */
  readonly maxInputs: number;
  /** When nodes attach share proofs. */
  readonly proofs: "on-failure" | "always";
  /** Clients of the token that may sign; absent: all of them. */
  readonly clients?: readonly string[];
  /** Absent: no limit. */
  readonly rate?: RateLimit;
}

/** How much each node signs: so many signatures at once, and as many again in each period. */
export interface RateLimit {
  readonly signatures: number;
  readonly perSeconds: number;
}

export const keyStates = ["proposed", "active", "abandoned", "destroyed"] as const;
export type KeyState = (typeof keyStates)[number];

/** The public record of a key. */
export interface KeyInfo {
  /** 32 lower-case hex digits. */
  readonly keyId: string;
  readonly token: string;
  /** For people; need not be unique. */
  readonly label: string;
  /** PKCS#11's CKA_ID, 1…255 bytes. */
  readonly id: Uint8Array;
  readonly algorithm: "rsa";
  readonly modulusBits: number;
  /** Big-endian, exactly modulusBits/8 bytes. */
  readonly modulus: Uint8Array;
  /** Big-endian, no leading zeros. */
  readonly publicExponent: Uint8Array;
  readonly threshold: number;
  /** Node names; party i is at index i−1. */
  readonly parties: readonly string[];
  readonly policy: KeyPolicy;
  readonly state: KeyState;
  /** RFC 3339, by the dealer's clock. */
  readonly createdAt: string;
}

export interface GenerateKeyOptions extends CallOptions {
  readonly token: string;
  readonly label: string;
  /** CKA_ID; default 20 random bytes. */
  readonly id?: Uint8Array;
  /** 1024, 2048, 3072 or 4096; default 2048. */
  readonly modulusBits?: number;
  readonly policy?: Partial<KeyPolicy>;
  /**
   * 16 random bytes that name this wish. A second call with the same bytes, also from another
   * process, finds the first one's key instead of making another.
   */
  readonly operationId?: Uint8Array;
  readonly onProgress?: (progress: KeygenProgress) => void;
}

/** Where a key generation stands. `done` of `total` is set where there is something to count. */
export interface KeygenProgress {
  readonly step: "primes" | "propose" | "ready" | "deal" | "accepted" | "test" | "active";
  readonly done?: number;
  readonly total?: number;
}

export interface DestroyOptions extends CallOptions {
  /** Wait so long for receipts; default 5 s. */
  readonly waitMs?: number;
  /** Called with each receipt, and once when the destruction is on record. */
  readonly onProgress?: (so: DestroyResult) => void;
}

/** What an object or key is called; what is absent stays as it is. */
export interface Names {
  readonly label?: string;
  /** CKA_ID, at most 255 bytes; of a key at least one. */
  readonly id?: Uint8Array;
}

/** PKCS#11's attributes of certificates (the first three) and of data. */
export type ObjectFields = Partial<
  Record<"subject" | "issuer" | "serialNumber" | "application" | "objectId", Uint8Array>
>;

/** A certificate or data that applications keep on a token. Public. */
export interface TokenObject {
  /** 32 lower-case hex digits. */
  readonly objectId: string;
  readonly token: string;
  readonly kind: "certificate" | "data";
  readonly label: string;
  readonly id: Uint8Array;
  /** 1…16384 bytes. */
  readonly value: Uint8Array;
  readonly fields: ObjectFields;
}

export interface StoreObjectOptions extends Omit<TokenObject, "objectId" | "fields">, CallOptions {
  readonly fields?: ObjectFields;
  /** As for `generateKey`. */
  readonly operationId?: Uint8Array;
}

/** What became of a destruction. A key with more than n−k erasures can never sign again. */
export interface DestroyResult {
  readonly keyId: string;
  readonly threshold: number;
  /** Node names that published an `erased` receipt before the call returned. */
  readonly erased: readonly string[];
  readonly pending: readonly string[];
  /** Whether so many shares are gone that no quorum is left. */
  readonly beyondRecovery: boolean;
}

/** One application's connection to one token; its requests are counted, so that a gap shows. */
export interface SigningSession {
  /** base64url of 16 random bytes. */
  readonly id: string;
  readonly token: string;
  /** The signature, big-endian, as long as the modulus. */
  sign(input: SignInput, options?: CallOptions): Promise<Uint8Array>;
  /**
   * The plaintext; with padding "none" the whole block, as long as the modulus. The nodes and the record see a
   * blinded ciphertext only. What is no PKCS #1 v1.5 padding decrypts to a pseudorandom message
   * ("implicit rejection").
   * @throws HsmError `ERR_DECRYPT_FAILED` for whatever is no ciphertext of the key
   */
  decrypt(input: DecryptInput, options?: CallOptions): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A connected client. Every call ends in a result or an `HsmError`; nothing waits for ever. */
export interface HsmClient {
  readonly name: string;
  /** Tokens this client may use, in the order of cluster.toml. */
  readonly tokens: readonly string[];
  /** Whether NATS answers right now. */
  readonly connected: boolean;

  /**
   * Opens the identity key with the PIN. Returns a ticket of 32 secret bytes that opens it again
   * without the PIN (after a restart of this process, say) as long as the PIN stays the same.
   * Wrong PINs are counted on disk, answered later and later, and lock the PIN in the end.
   * @throws HsmError ERR_PIN_LOCKED; WrongPinError (ERR_WRONG_PIN) with the attempts that are left
   */
  unlock(pin: string): Promise<Uint8Array>;
  /** Opens the identity key with a ticket. @throws HsmError ERR_WRONG_PIN when it is stale. */
  unlockWithTicket(ticket: Uint8Array): Promise<void>;
  /** Counts as `unlock` does, of all processes on this host. */
  pinState(): Promise<PinState>;
  /**
   * Puts the identity under another PIN (4 to 255 bytes), also while it is locked in memory. Returns
   * the new ticket; all earlier ones are stale.
   * @throws HsmError as `unlock`, and ERR_INVALID_ARGUMENT for a new PIN that is none
   */
  changePin(oldPin: string, newPin: string): Promise<Uint8Array>;
  /** @throws HsmError ERR_WRONG_PIN for a wrong code, ERR_INVALID_ARGUMENT for an identity without one */
  checkRecoveryCode(recoveryCode: string): Promise<void>;
  /**
   * The same with the recovery code (PKCS#11's SO PIN) in place of a PIN that is forgotten or locked.
   * @throws HsmError ERR_WRONG_PIN for a wrong code, ERR_INVALID_ARGUMENT
   */
  resetPin(recoveryCode: string, newPin: string): Promise<Uint8Array>;
  /** Erases the identity key from memory. Signing then fails with ERR_NOT_LOGGED_IN. */
  lock(): void;
  readonly unlocked: boolean;

  /** Active keys of a token, in order of creation. Waits for the first replay, then is local. */
  keys(token: string, options?: CallOptions): Promise<readonly KeyInfo[]>;
  /** Grows with every change of the key directory. */
  readonly keysRevision: number;
  generateKey(options: GenerateKeyOptions): Promise<KeyInfo>;
  /**
   * Ends a key for ever. Resolves when every node has erased its share, or after a while: absent
   * nodes erase when they return. Again: waits for what is still missing.
   */
  destroyKey(keyId: string, options?: DestroyOptions): Promise<DestroyResult>;

  /** Gives an active key other names. */
  relabelKey(keyId: string, names: Names, options?: CallOptions): Promise<void>;

  /** Certificates and data on a token, in the order of their storing. */
  objects(token: string, options?: CallOptions): Promise<readonly TokenObject[]>;
  /**
   * Puts a certificate or data on a token, for all of its clients and for good: what is removed stays in
   * the history. At most 1,000 on a token.
   */
  storeObject(options: StoreObjectOptions): Promise<TokenObject>;
  relabelObject(objectId: string, names: Names, options?: CallOptions): Promise<void>;
  /** @throws HsmError `ERR_UNKNOWN_KEY` when there is none */
  removeObject(objectId: string, options?: CallOptions): Promise<void>;

  /** `application` is what the audit trail shows: a program's name and process id. */
  openSession(token: string, application: string): Promise<SigningSession>;
  /** Starts looking for safe primes in the background, so that the next generateKey is quick. */
  prepareKey(modulusBits: number): void;
  close(): Promise<void>;
}
