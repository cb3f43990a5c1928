/**
 * @module What this node takes from a dealer: proposals that it can serve, and shares sealed to its
 * one-time keys that fit the public record.
 */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { parseKeyShare, verifyKeyShare } from "../scheme/index.js";
import type { SealedShare } from "../streams/deals.js";
import { expiryOf } from "../streams/key-life.js";
import { createSealingKey, type SealingKey } from "../streams/sealing.js";
import type { KeyEntry } from "./key-directory.js";
import type { KeyStore } from "./key-store.js";

/** Keys that are not dead, at most: a client must not fill the node's disk and memory. */
const maxKeys = 10_000;

export interface DealingOptions {
  readonly cluster: Cluster;
  readonly store: KeyStore;
  readonly clockToleranceMs: number;
  /** How far ahead a proposal may expire. */
  readonly dealLifetimeMs: number;
  readonly now: () => number;
}

export class Dealing {
  readonly #options: DealingOptions;
  /** One-time keys by key id: in memory only, for one dealing. */
  readonly #sealingKeys = new Map<string, SealingKey>();

  constructor(options: DealingOptions) {
    this.#options = options;
  }

  isPrepared(key: string): boolean {
    return this.#sealingKeys.has(key);
  }

  /** Whether it is sealed to the one-time key that waits for it. */
  isAwaited({ key, sealingKey }: SealedShare): boolean {
    return this.#sealingKeys.get(key)?.publicKey === sealingKey;
  }

  /** Whether the dealing is over by this node's clock, and by any other that is set right. */
  isOver({ record }: KeyEntry): boolean {
    const { now, clockToleranceMs } = this.#options;
    return now() > expiryOf(record) + clockToleranceMs;
  }

  /** A new one-time key for the dealing: its public half, base64url. */
  async prepare(entry: KeyEntry): Promise<string> {
    const sealingKey = await createSealingKey();
    this.#sealingKeys.set(entry.record.key, sealingKey);
    return sealingKey.publicKey;
  }

  forget(key: string): void {
    this.#sealingKeys.delete(key);
  }

  /** @throws HsmError the reason to reject a proposal before anything is dealt */
  requireAcceptable(entry: KeyEntry): void {
    const { store, now, clockToleranceMs, dealLifetimeMs } = this.#options;
    const { record } = entry;
    const ahead = Math.max(Date.parse(record.time), expiryOf(record) - dealLifetimeMs) - now();
    if (ahead > clockToleranceMs) {
      throw new HsmError(
        "ERR_EXPIRED",
        `the proposal of ${record.time} that expires ${record.expires ?? "later"} is ${ahead} ms ` +
          "ahead of this node's clock: compare the clocks",
      );
    }
    if (record.epoch !== 0) {
      throw new HsmError("ERR_UNSUPPORTED_MECHANISM", `no such epoch: ${record.epoch}`);
    }
    if (store.keys.length >= maxKeys) {
      throw new HsmError("ERR_REFUSED_BY_POLICY", `this node holds ${maxKeys} keys already`);
    }
    entry.group();
  }

  /**
   * @throws HsmError `ERR_UNKNOWN_SENDER`, `ERR_CONFLICT` unless the share is sealed by the proposer
   * for this node's part in this very dealing
   */
  requireFor({ record, party, proposal }: KeyEntry, sealed: SealedShare): void {
    if (sealed.client !== record.client) {
      throw new HsmError("ERR_UNKNOWN_SENDER", `${sealed.client} does not deal ${sealed.key}`);
    }
    const isOurs =
      sealed.proposal === proposal &&
      sealed.epoch === record.epoch &&
      sealed.party === party &&
      party !== 0;
    if (!isOurs) throw new HsmError("ERR_CONFLICT", `a share of another dealing of ${sealed.key}`);
  }

  /**
   * The one-time key of a sealed share, which serves once.
   * @throws HsmError `ERR_CONFLICT` for a key from before this process: it has asked for another one
   */
  takeSealingKey({ key, sealingKey }: SealedShare): SealingKey {
    const oneTime = this.#sealingKeys.get(key);
    if (oneTime?.publicKey !== sealingKey) {
      throw new HsmError("ERR_CONFLICT", "a share sealed to a one-time key that is gone");
    }
    this.#sealingKeys.delete(key);
    return oneTime;
  }
}

/**
 * The share in clear, which the caller erases.
 * @throws HsmError `ERR_INVALID_KEY_SHARE` unless it opens and is this party's share of the key
 */
export async function openShare(
  entry: KeyEntry,
  oneTime: SealingKey,
  sealed: SealedShare,
): Promise<Uint8Array> {
  const plain = await oneTime.open(sealed);
  try {
    const group = entry.group();
    const share = parseKeyShare(plain, group);
    try {
      if (share.index !== entry.party || !verifyKeyShare(group, share)) {
        throw new HsmError("ERR_INVALID_KEY_SHARE", "the share does not fit the public record");
      }
    } finally {
      share.erase();
    }
    return plain;
  } catch (error) {
    plain.fill(0);
    throw error;
  }
}
