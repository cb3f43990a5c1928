/**
 * @module Every failure that a caller may have to tell apart, as one class with a stable code.
 * Programming mistakes stay `TypeError` and `RangeError`; whatever comes from outside ends here.
 */

/** The stable codes. A code is never renamed: programs and runbooks match on it. */
export type HsmErrorCode =
  /** A caller passed a value that the call does not take. */
  | "ERR_INVALID_ARGUMENT"
  /** A configuration file is missing, unreadable or wrong; the message names file and field. */
  | "ERR_INVALID_CONFIG"
  /** A file with a secret can be read by others, or belongs to somebody else. */
  | "ERR_UNTRUSTED_FILE"
  /** Bytes from the bus or a socket are not a message of a known shape. */
  | "ERR_INVALID_MESSAGE"
  /** A message is well formed, but its signature is not its sender's. */
  | "ERR_INVALID_SIGNATURE"
  /** The sender is not a member of the cluster, or has not the role for this message. */
  | "ERR_UNKNOWN_SENDER"
  /** A dealt key share does not fit the public key record. */
  | "ERR_INVALID_KEY_SHARE"
  /** A signature share is outside its range, or proven wrong. */
  | "ERR_INVALID_SIGNATURE_SHARE"
  /** Enough shares came, but no k of them make a valid signature. */
  | "ERR_COMBINE_FAILED"
  /** Fewer than k nodes answered before the deadline. */
  | "ERR_QUORUM_NOT_REACHED"
  /** The deadline passed for another reason than missing shares. */
  | "ERR_DEADLINE"
  /** The caller's AbortSignal fired. */
  | "ERR_ABORTED"
  /** No such key for this client. */
  | "ERR_UNKNOWN_KEY"
  /** The key exists, but is not active (being dealt, abandoned or destroyed). */
  | "ERR_KEY_NOT_ACTIVE"
  /** Key generation ended without an active key; nothing is left of it. */
  | "ERR_KEY_ABANDONED"
  /** The key's policy does not allow this. */
  | "ERR_REFUSED_BY_POLICY"
  /** The key has signed as much as its policy allows for now: the same call works later. */
  | "ERR_RATE_LIMITED"
  /** No such algorithm, encoding, hash or size. */
  | "ERR_UNSUPPORTED_MECHANISM"
  /** What was to be decrypted is no ciphertext of this key. Never says why. */
  | "ERR_DECRYPT_FAILED"
  /** A request arrived after its own expiry, or too far ahead of it: compare the clocks. */
  | "ERR_EXPIRED"
  /** The same id was used for something else before. */
  | "ERR_CONFLICT"
  /** The identity key is locked: a PIN is needed. */
  | "ERR_NOT_LOGGED_IN"
  /** Of the PIN (then a `WrongPinError`), of a ticket that is stale, or of a recovery code. */
  | "ERR_WRONG_PIN"
  /** Too many wrong PINs: none is tried any more, the right one neither. */
  | "ERR_PIN_LOCKED"
  /** NATS cannot be reached, or does not answer. Retrying may help. */
  | "ERR_BROKER_UNREACHABLE"
  /** NATS answered with something that is not right: permissions, settings, an ack from elsewhere. */
  | "ERR_BROKER"
  /** A stream has reached its size limit: nothing more is signed until it is rotated. */
  | "ERR_STREAM_FULL"
  /** A node's journal or chain does not continue where it must. */
  | "ERR_JOURNAL"
  /** The recorded history does not fit together. */
  | "ERR_AUDIT_MISMATCH"
  /** A defect of ours. */
  | "ERR_INTERNAL";

/**
 * A failure with a stable code. The message is one lower-case sentence that says what was expected
 * and what came; it never contains a secret nor the data to sign.
 */
export class HsmError extends Error {
  readonly code: HsmErrorCode;

  constructor(code: HsmErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** Signature shares that are proven wrong. `culprits` are party indices, 1…parties, ascending. */
export class InvalidSignatureShareError extends HsmError {
  readonly culprits: readonly number[];

  constructor(culprits: readonly number[], message: string, options?: ErrorOptions) {
    super("ERR_INVALID_SIGNATURE_SHARE", message, options);
    this.culprits = culprits;
  }
}

/** Too few nodes answered. Says who was asked, and what each of them did. */
export class QuorumError extends HsmError {
  /** Node name → "silent", "not asked", "wrong share", or the code of its refusal. */
  readonly answers: Readonly<Record<string, string>>;

  constructor(answers: Readonly<Record<string, string>>, message: string, options?: ErrorOptions) {
    super("ERR_QUORUM_NOT_REACHED", message, options);
    this.answers = answers;
  }
}

/** The PIN was wrong; so many more attempts may be, until the PIN is locked. */
export class WrongPinError extends HsmError {
  readonly attemptsLeft: number;

  constructor(attemptsLeft: number, message: string, options?: ErrorOptions) {
    super("ERR_WRONG_PIN", message, options);
    this.attemptsLeft = attemptsLeft;
  }
}

/** `error` itself when it is one of ours, else an `HsmError` of the given code with it as cause. */
export function asHsmError(error: unknown, code: HsmErrorCode, message: string): HsmError {
  return error instanceof HsmError ? error : new HsmError(code, message, { cause: error });
}

/** A short text for a log line or a terminal: message and code, no stack. */
export function describeError(error: unknown): string {
  if (error instanceof HsmError) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message : String(error);
}
