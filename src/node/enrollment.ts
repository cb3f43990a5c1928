/**
 * @module A key's life on this node: ready → share opened, checked and stored → accepted → erased.
 * Every step looks at what is on disk and on record and does what is missing, so that it may be cut
 * short at any instant and taken up again.
 */
import { describeError, HsmError, type HsmErrorCode } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { parseKeyShare, verifyKeyShare } from "../scheme/index.js";
import type { Delivery } from "../streams/consume.js";
import type { SealedShare } from "../streams/deals.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyAccepted, KeyErased, KeyReady, KeyRejected } from "../streams/keys.js";
import { readSealedShare, verifySender } from "../streams/open.js";
import { createSealingKey, type SealingKey } from "../streams/sealing.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { IgnoredMessages } from "./ignored.js";
import type { KeyDirectory, KeyEntry } from "./key-directory.js";
import type { KeyStore, ShareBinding } from "./key-store.js";
import type { Outbox } from "./outbox.js";

/** Keys that are not dead, at most: a client must not fill the node's disk and memory. */
const maxKeys = 10_000;
const longestReason = 400;

export interface EnrollmentOptions {
  readonly node: string;
  readonly cluster: Cluster;
  readonly directory: KeyDirectory;
  readonly store: KeyStore;
  readonly outbox: Outbox;
  readonly ignored: IgnoredMessages;
  readonly log: Logger;
  readonly clockToleranceMs: number;
  /** How long a dealer waits for its nodes at most; older proposals are nobody's any more. */
  readonly dealLifetimeMs: number;
  /** Reads THSM_KEY to its end. */
  readonly catchUp: () => Promise<void>;
  /** The key must not sign any more: forget what memory holds of its share. */
  readonly onDead: (key: string) => Promise<void>;
  readonly now: () => number;
}

type Event<T extends { time: string; n: number; prev: string }> = Omit<
  T,
  "version" | "key" | "node" | "party" | "proposal" | "time" | "n" | "prev"
>;

export class Enrollment {
  readonly #options: EnrollmentOptions;
  /** One-time keys by key id: in memory only, for one dealing. */
  readonly #sealingKeys = new Map<string, { key: SealingKey; until: number }>();
  /** The tail of each key's chain of steps: steps of one key never overlap. */
  readonly #steps = new Map<string, Promise<void>>();

  constructor(options: EnrollmentOptions) {
    this.#options = options;
  }

  /**
   * Does what is missing for every known key, first of all erasing what was destroyed meanwhile.
   * Resolves when no share of a dead key is left.
   */
  async start(): Promise<void> {
    const { directory, store, log } = this.#options;
    for (const entry of directory.entries) this.consider(entry);
    for (const key of store.keys) {
      if (directory.find(key) === undefined) log.warn({ key }, "key share without a key on record");
    }
    await this.idle();
  }

  /** To be called whenever a key's state has changed. */
  consider(entry: KeyEntry): void {
    if (entry.party === 0) return;
    this.#enqueue(entry.record.key, () => this.#step(entry));
  }

  /** Takes a sealed share from the work queue, and acknowledges it when it is dealt with for good. */
  handle(delivery: Delivery): void {
    const { ignored, log } = this.#options;
    let sealed: SealedShare;
    try {
      sealed = readSealedShare(delivery.message);
    } catch (error) {
      ignored.count("ERR_INVALID_MESSAGE", describeError(error));
      delivery.ack();
      return;
    }
    this.#enqueue(sealed.key, async () => {
      try {
        await this.#receive(delivery, sealed);
        delivery.ack();
      } catch (error) {
        if (error instanceof HsmError && isSendersFault(error.code)) {
          ignored.count(error.code, error.message);
          delivery.ack();
        } else {
          log.warn({ key: sealed.key, error: describeError(error) }, "cannot take a key share now");
          delivery.retry(1000);
        }
      }
    });
  }

  /** Resolves when no step is under way. */
  async idle(): Promise<void> {
    while (this.#steps.size > 0) await Promise.all(this.#steps.values());
  }

  /** Drops one-time keys that no dealer will use any more. */
  forgetStale(): void {
    const now = this.#options.now();
    for (const [key, { until }] of this.#sealingKeys) {
      if (now >= until) this.#sealingKeys.delete(key);
    }
  }

  #enqueue(key: string, step: () => Promise<void>): void {
    const { log } = this.#options;
    const before = this.#steps.get(key) ?? Promise.resolve();
    const after: Promise<void> = before
      .then(step)
      .catch((error: unknown) => {
        log.error({ key, error: describeError(error) }, "enrolment step failed");
      })
      .finally(() => {
        if (this.#steps.get(key) === after) this.#steps.delete(key);
      });
    this.#steps.set(key, after);
  }

  /** The next thing to do for a key, if there is any. */
  async #step(entry: KeyEntry): Promise<void> {
    const { store } = this.#options;
    const { key } = entry.record;
    if (entry.isDead) {
      if (entry.said.has("erased") && !store.has(key)) return;
      this.#sealingKeys.delete(key);
      await this.#options.onDead(key);
      await store.erase(key);
      if (!entry.said.has("erased")) await this.#say<KeyErased>(entry, { type: "erased" });
    } else if (store.has(key)) {
      if (!entry.said.has("accepted")) await this.#say<KeyAccepted>(entry, { type: "accepted" });
    } else if (entry.state === "proposed" && !entry.said.has("rejected")) {
      if (!this.#sealingKeys.has(key)) await this.#prepare(entry);
    }
  }

  async #prepare(entry: KeyEntry): Promise<void> {
    const { now, clockToleranceMs, dealLifetimeMs } = this.#options;
    const { record } = entry;
    if (!entry.isAuthorised) return;
    const age = now() - Date.parse(record.time);
    // After a long absence nobody waits for this any more. NaN is a date that does not exist.
    if (!(age <= dealLifetimeMs + clockToleranceMs)) return;
    try {
      if (age < -clockToleranceMs) {
        throw new HsmError(
          "ERR_EXPIRED",
          `the proposal is ${-age} ms ahead of this node's clock: compare the clocks`,
        );
      }
      this.#requireAcceptable(entry);
    } catch (error) {
      await this.#reject(entry, error);
      return;
    }
    const sealingKey = await createSealingKey();
    this.#sealingKeys.set(record.key, { key: sealingKey, until: now() + dealLifetimeMs });
    await this.#say<KeyReady>(entry, { type: "ready", sealingKey: sealingKey.publicKey });
  }

  #requireAcceptable(entry: KeyEntry): void {
    const { cluster, store } = this.#options;
    const { record } = entry;
    if (record.epoch !== 0) {
      throw new HsmError("ERR_UNSUPPORTED_MECHANISM", `no such epoch: ${record.epoch}`);
    }
    const stranger = record.parties.find((name) => cluster.find("node", name) === undefined);
    if (stranger !== undefined) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `no node of the cluster is named ${stranger}`);
    }
    const { threshold, minimum, parties } = record;
    if (minimum < threshold || minimum > parties.length) {
      throw new HsmError("ERR_INVALID_ARGUMENT", "minimum is not between threshold and parties");
    }
    if (store.keys.length >= maxKeys) {
      throw new HsmError("ERR_REFUSED_BY_POLICY", `this node holds ${maxKeys} keys already`);
    }
    entry.group();
  }

  async #receive({ message }: Delivery, sealed: SealedShare): Promise<void> {
    const { cluster, directory, catchUp, store } = this.#options;
    verifySender(cluster, message, sealed, "client");
    if (directory.find(sealed.key) === undefined) await catchUp();
    const entry = directory.find(sealed.key);
    if (entry === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "a share of no known key");
    const { record, party, proposal } = entry;
    if (sealed.client !== record.client) {
      throw new HsmError("ERR_UNKNOWN_SENDER", `${sealed.client} does not deal ${sealed.key}`);
    }
    if (
      sealed.proposal !== proposal ||
      sealed.epoch !== record.epoch ||
      sealed.party !== party ||
      party === 0
    ) {
      throw new HsmError("ERR_CONFLICT", `a share of another dealing of ${sealed.key}`);
    }
    if (entry.state !== "proposed" || entry.said.has("rejected") || store.has(sealed.key)) {
      // Repeated after a crash, or overtaken by events: what is still owed is said now.
      await this.#step(entry);
      return;
    }
    const oneTime = this.#sealingKeys.get(sealed.key);
    if (oneTime?.key.publicKey !== sealed.sealingKey) {
      // Sealed to a key that this node had before it started again; it has asked for another one.
      throw new HsmError("ERR_CONFLICT", "a share sealed to a one-time key that is gone");
    }
    this.#sealingKeys.delete(sealed.key);
    await this.#take(entry, oneTime.key, sealed);
  }

  async #take(entry: KeyEntry, oneTime: SealingKey, sealed: SealedShare): Promise<void> {
    let plain: Uint8Array | undefined;
    try {
      plain = await oneTime.open(sealed);
      requireOwnShare(entry, plain);
    } catch (error) {
      plain?.fill(0);
      await this.#reject(entry, error);
      return;
    }
    try {
      await this.#options.store.save(bindingOf(entry), plain);
    } finally {
      plain.fill(0);
    }
    // Also the erasure, when the key has died meanwhile.
    await this.#step(entry);
  }

  /** @throws whatever is not the dealer's fault */
  async #reject(entry: KeyEntry, error: unknown): Promise<void> {
    if (!(error instanceof HsmError)) throw error;
    const { log } = this.#options;
    log.warn({ key: entry.record.key, error: describeError(error) }, "key rejected");
    const reason = error.message.slice(0, longestReason);
    await this.#say<KeyRejected>(entry, { type: "rejected", code: error.code, reason });
  }

  async #say<T extends KeyReady | KeyAccepted | KeyRejected | KeyErased>(
    entry: KeyEntry,
    event: Event<T>,
  ): Promise<void> {
    const { node, outbox, now, log } = this.#options;
    const { key } = entry.record;
    await outbox.say(streamNames.keys, formatSubject({ kind: "key", key }), {
      version: formatVersion,
      key,
      node,
      party: entry.party,
      proposal: entry.proposal,
      ...event,
      time: new Date(now()).toISOString(),
    });
    // The stream tells us too, but later; what is journaled is said.
    entry.said.add(event.type);
    log.info({ key, event: event.type }, "key event");
  }
}

/** What the stored share of a key is bound to. */
export function bindingOf({ record, party, proposal }: KeyEntry): ShareBinding {
  return { key: record.key, epoch: record.epoch, party, proposal };
}

/** @throws HsmError `ERR_INVALID_KEY_SHARE` unless these bytes are this party's share of the key */
function requireOwnShare(entry: KeyEntry, plain: Uint8Array): void {
  const group = entry.group();
  const share = parseKeyShare(plain, group);
  try {
    if (share.index !== entry.party || !verifyKeyShare(group, share)) {
      throw new HsmError("ERR_INVALID_KEY_SHARE", "the share does not fit the public record");
    }
  } finally {
    share.erase();
  }
}

function isSendersFault(code: HsmErrorCode): boolean {
  return [
    "ERR_INVALID_SIGNATURE",
    "ERR_UNKNOWN_SENDER",
    "ERR_UNKNOWN_KEY",
    "ERR_CONFLICT",
  ].includes(code);
}
