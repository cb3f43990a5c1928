/**
 * @module One party's secret s_i: a value that does not print itself, its check against the public
 * record (Shoup 2000, section 3: v_i = v^{s_i}), and its bytes.
 */
import { HsmError } from "../errors.js";
import { bytesToNumber, numberToBytes } from "./bytes.js";
import { isParty, verificationKey } from "./group-key.js";
import { Exponentiator } from "./modexp.js";
import type { GroupKey } from "./types.js";

/** What any attempt to show a secret shows. */
const redacted = "[redacted]";
/**
 * Party `index`'s key share. Secret: belongs to that party alone. JSON, `String`, `console.log` and
 * structured cloning show the index only.
 */
export class KeyShare {
  /** 1 … n */
  readonly index: number;
  readonly #secret: Uint8Array;
  #erased = false;

  /** Takes over `secret`, big-endian bytes of s_i, and overwrites them in `erase`. */
  constructor(index: number, secret: Uint8Array) {
    this.index = index;
    this.#secret = secret;
  }

  /**
   * s_i, 0 < s_i < N/4. Do not keep it: a bigint cannot be overwritten.
   * @throws HsmError `ERR_KEY_NOT_ACTIVE` after `erase`.
   */
  get secret(): bigint {
    if (this.#erased) throw new HsmError("ERR_KEY_NOT_ACTIVE", "key share is erased");
    return bytesToNumber(this.#secret);
  }

  /** Overwrites the secret. Copies that the garbage collector made meanwhile are out of reach. */
  erase(): void {
    this.#secret.fill(0);
    this.#erased = true;
  }

  toJSON(): { index: number; secret: string } {
    return { index: this.index, secret: redacted };
  }

  toString(): string {
    return `KeyShare(${this.index}, ${redacted})`;
  }

  static {
    // A computed method name would need its type inferred, which `isolatedDeclarations` forbids.
    Object.defineProperty(KeyShare.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: KeyShare): string {
        return this.toString();
      },
    });
  }
}

/** Whether the share is what the dealer committed to: v^{s_i} = v_i. */
export function verifyKeyShare(group: GroupKey, share: KeyShare): boolean {
  if (!isParty(group, share.index)) return false;
  const exponentiator = new Exponentiator(group.modulus).setExponent(share.secret);
  const committed = exponentiator.power(group.verificationBase);
  exponentiator.erase();
  return committed === verificationKey(group, share.index);
}

const magic = Buffer.from("THKS");
const version = 1;
const headerLength = magic.length + 4;

/**
 * `"THKS" ‖ version 1 ‖ index (1 byte) ‖ length of N in bytes (2) ‖ s_i (that many bytes)`.
 * Secret: to be sealed or encrypted at once, and overwritten.
 */
export function serializeKeyShare(share: KeyShare, group: GroupKey): Uint8Array {
  const bytes = Buffer.alloc(headerLength + group.modulusLength);
  magic.copy(bytes);
  bytes.writeUInt8(version, 4);
  bytes.writeUInt8(share.index, 5);
  bytes.writeUInt16BE(group.modulusLength, 6);
  const secret = numberToBytes(share.secret, group.modulusLength);
  bytes.set(secret, headerLength);
  secret.fill(0);
  return bytes;
}

/**
 * The share in `bytes`, which must be exactly what `serializeKeyShare` writes for this group. Only
 * ranges are checked; `verifyKeyShare` tells whether it is the right one.
 * @throws HsmError `ERR_INVALID_KEY_SHARE`
 */
export function parseKeyShare(bytes: Uint8Array, group: GroupKey): KeyShare {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  require(view.length === headerLength + group.modulusLength, "length");
  require(view.subarray(0, 4).equals(magic) && view.readUInt8(4) === version, "header");
  require(view.readUInt16BE(6) === group.modulusLength, "header");
  const index = view.readUInt8(5);
  require(isParty(group, index), "party");
  const secret = Uint8Array.from(view.subarray(headerLength));
  const value = bytesToNumber(secret);
  // s_i < m = (p-1)(q-1)/4 < N/4; the party knows no m.
  require(value > 0n && 4n * value < group.modulus, "secret");
  return new KeyShare(index, secret);
}

function require(holds: boolean, name: string): void {
  if (!holds) throw new HsmError("ERR_INVALID_KEY_SHARE", `key share: ${name} out of range`);
}
