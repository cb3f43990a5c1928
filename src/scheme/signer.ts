/**
 * @module One party at work: signature shares and their proofs from one key share. Lives in a worker
 * thread, keeps the secret exponent inside OpenSSL.
 */
import { randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import { numberToBytes } from "./bytes.js";
import { isParty } from "./group-key.js";
import type { KeyShare } from "./key-share.js";
import { Exponentiator } from "./modexp.js";
import { factorial } from "./polynomial.js";
import { proveShare } from "./proof.js";
import { canonical, messageRepresentative } from "./share.js";
import type { GroupKey, ProofContext, RandomSource } from "./types.js";

/** Signs and proves with one key share, which stays the caller's and must not be erased before this. */
export class ShareSigner {
  readonly #group: GroupKey;
  readonly #share: KeyShare;
  readonly #exponentiator: Exponentiator;
  #erased = false;

  /** @throws RangeError when the share is of no party of the group. */
  constructor(group: GroupKey, share: KeyShare) {
    if (!isParty(group, share.index)) throw new RangeError("key share is not of this group");
    this.#group = group;
    this.#share = share;
    const exponent = 2n * factorial(group.parties) * share.secret;
    this.#exponentiator = new Exponentiator(group.modulus).setExponent(exponent);
  }

  /**
   * The party's signature share in bytes, as long as the modulus. Deterministic. Public.
   * @throws HsmError `ERR_INVALID_ARGUMENT` for an encoded message out of range,
   * `ERR_KEY_NOT_ACTIVE` after `erase`.
   */
  sign(encodedMessage: Uint8Array): Uint8Array {
    return numberToBytes(this.#value(encodedMessage), this.#group.modulusLength);
  }

  /**
   * A proof that `sign(encodedMessage)` is right, in bytes. Public. Costs four times a share.
   * @throws HsmError as `sign`.
   */
  prove(
    encodedMessage: Uint8Array,
    context: ProofContext,
    random: RandomSource = randomBytes,
  ): Uint8Array {
    const share = { index: this.#share.index, value: this.#value(encodedMessage) };
    return proveShare(this.#group, encodedMessage, share, this.#share, context, random);
  }

  /** Forgets the exponent. The key share is the caller's to erase. */
  erase(): void {
    this.#exponentiator.erase();
    this.#erased = true;
  }

  /** x_i = x^{2Δs_i} mod N, or N minus that. */
  #value(encodedMessage: Uint8Array): bigint {
    if (this.#erased) throw new HsmError("ERR_KEY_NOT_ACTIVE", "key share is erased");
    const x = messageRepresentative(this.#group, encodedMessage);
    return canonical(this.#group, this.#exponentiator.power(x));
  }
}
