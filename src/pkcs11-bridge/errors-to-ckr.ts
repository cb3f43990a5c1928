/** @module The one table from our errors to PKCS#11's return values. */
import { HsmError, type HsmErrorCode } from "../errors.js";
import { ckr } from "./ckr.js";

// Whatever an operator has to repair is DEVICE_ERROR: GnuTLS and Knot end the signing event cleanly
// on it and try again later.
const table = {
  ERR_INVALID_ARGUMENT: ckr.ARGUMENTS_BAD,
  ERR_INVALID_CONFIG: ckr.DEVICE_ERROR,
  ERR_UNTRUSTED_FILE: ckr.DEVICE_ERROR,
  ERR_INVALID_MESSAGE: ckr.DEVICE_ERROR,
  ERR_INVALID_SIGNATURE: ckr.DEVICE_ERROR,
  ERR_UNKNOWN_SENDER: ckr.DEVICE_ERROR,
  ERR_INVALID_KEY_SHARE: ckr.DEVICE_ERROR,
  ERR_INVALID_SIGNATURE_SHARE: ckr.DEVICE_ERROR,
  ERR_COMBINE_FAILED: ckr.DEVICE_ERROR,
  ERR_QUORUM_NOT_REACHED: ckr.DEVICE_ERROR,
  ERR_DEADLINE: ckr.DEVICE_ERROR,
  ERR_ABORTED: ckr.FUNCTION_CANCELED,
  ERR_UNKNOWN_KEY: ckr.KEY_HANDLE_INVALID,
  ERR_KEY_NOT_ACTIVE: ckr.KEY_HANDLE_INVALID,
  ERR_KEY_ABANDONED: ckr.FUNCTION_FAILED,
  ERR_REFUSED_BY_POLICY: ckr.DATA_INVALID,
  // Nothing is wrong with the data: the same call works later.
  ERR_RATE_LIMITED: ckr.DEVICE_ERROR,
  ERR_UNSUPPORTED_MECHANISM: ckr.MECHANISM_INVALID,
  ERR_DECRYPT_FAILED: ckr.ENCRYPTED_DATA_INVALID,
  ERR_EXPIRED: ckr.DEVICE_ERROR,
  ERR_CONFLICT: ckr.FUNCTION_FAILED,
  ERR_NOT_LOGGED_IN: ckr.USER_NOT_LOGGED_IN,
  ERR_WRONG_PIN: ckr.PIN_INCORRECT,
  ERR_PIN_LOCKED: ckr.PIN_LOCKED,
  ERR_BROKER_UNREACHABLE: ckr.DEVICE_ERROR,
  ERR_BROKER: ckr.DEVICE_ERROR,
  ERR_STREAM_FULL: ckr.DEVICE_MEMORY,
  ERR_JOURNAL: ckr.DEVICE_ERROR,
  ERR_AUDIT_MISMATCH: ckr.DEVICE_ERROR,
  ERR_INTERNAL: ckr.GENERAL_ERROR,
} as const satisfies Record<HsmErrorCode, number>;

/** A refusal that PKCS#11 has a better word for than any of our codes. */
export class CkrError extends Error {
  readonly ckr: number;

  constructor(code: number, message: string) {
    super(message);
    this.ckr = code;
  }
}

/** The CKR code for anything that was thrown. */
export function ckrOf(error: unknown): number {
  if (error instanceof CkrError) return error.ckr;
  return error instanceof HsmError ? table[error.code] : ckr.GENERAL_ERROR;
}

/** Whether the same call may work in a while, so that the module should wait and ask again. */
export function isTransient(error: unknown): boolean {
  return error instanceof HsmError && error.code === "ERR_BROKER_UNREACHABLE";
}
