/**
 * @module A key's life on this node: ready → share opened, checked and stored → accepted → erased.
 * Every step looks at what is on disk and on record and does what is missing, so that it may be cut
 * short at any instant and taken up again.
 */
import { describeError, HsmError, type HsmErrorCode } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import type { Delivery } from "../streams/consume.js";
import type { SealedShare } from "../streams/deals.js";
import type { StoredMessage } from "../streams/envelope.js";
import { readSealedShare, verifySender } from "../streams/open.js";
import { Dealing, openShare } from "./dealing.js";
import type { IgnoredMessages } from "./ignored.js";
import type { KeyDirectory, KeyEntry } from "./key-directory.js";
import type { KeyStore, ShareBinding } from "./key-store.js";
import { KeyVoice } from "./key-voice.js";
import type { Outbox } from "./outbox.js";

export interface EnrollmentOptions {
  readonly node: string;
  readonly cluster: Cluster;
  readonly directory: KeyDirectory;
  readonly store: KeyStore;
  readonly outbox: Outbox;
  readonly ignored: IgnoredMessages;
  readonly log: Logger;
  readonly clockToleranceMs: number;
  /** How far ahead a proposal may expire. */
  readonly dealLifetimeMs: number;
  /** Reads THSM_KEY to its end. */
  readonly catchUp: () => Promise<void>;
  /** The newest sealed share of a key that waits in THSM_DEAL for this node. */
  readonly dealt: (key: string) => Promise<StoredMessage | undefined>;
  /** The key must not sign any more: forget what memory holds of its share. */
  readonly onDead: (key: string) => Promise<void>;
  readonly now: () => number;
}

export class Enrollment {
  readonly #options: EnrollmentOptions;
  readonly #dealing: Dealing;
  readonly #voice: KeyVoice;
  /** The tail of each key's chain of steps: steps of one key never overlap. */
  readonly #steps = new Map<string, Promise<void>>();
  /** Keys that are being dealt: looked at again as time passes. */
  readonly #open = new Set<KeyEntry>();
  #isLooking = false;

  constructor(options: EnrollmentOptions) {
    this.#options = options;
    this.#dealing = new Dealing(options);
    this.#voice = new KeyVoice(options);
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
    if (entry.state === "proposed") this.#open.add(entry);
    else this.#open.delete(entry);
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
        await this.#receive(delivery.message, sealed);
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

  /** To be called now and then: a dealing that nobody has finished in time is over for this node. */
  endOverdue(): void {
    const overdue = [...this.#open].filter((entry) => this.#dealing.isOver(entry));
    for (const entry of overdue) this.consider(entry);
  }

  /**
   * To be called now and then: a server that was killed can skip messages of its work queue until it has
   * as many as it once had (nats-server 2.9.10 does). One key after the other, so that a client that
   * proposes thousands does not have the broker asked for all of them at once.
   */
  async lookForShares(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    for (const { record } of this.#open) {
      if (this.#dealing.isPrepared(record.key)) await this.#lookUp(record.key);
    }
    this.#isLooking = false;
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
    if (entry.isDead || entry.isWithdrawn) {
      await this.#erase(entry);
    } else if (store.has(key)) {
      if (!entry.said.has("accepted")) await this.#voice.say(entry, { type: "accepted" });
      if (entry.state === "proposed") await this.#withdrawIfOver(entry);
    } else if (entry.state === "proposed" && !entry.said.has("rejected")) {
      if (this.#dealing.isOver(entry)) this.#dealing.forget(key);
      else if (!this.#dealing.isPrepared(key)) await this.#prepare(entry);
    }
  }

  async #erase(entry: KeyEntry): Promise<void> {
    const { store, onDead } = this.#options;
    const { key } = entry.record;
    const hasErased = entry.said.has("erased");
    if (hasErased && !store.has(key)) return;
    this.#dealing.forget(key);
    await onDead(key);
    await store.erase(key);
    // Who has rejected without ever holding a share has said all there is to say.
    const isOwed = entry.isDead || entry.said.has("accepted");
    if (isOwed && !hasErased) await this.#voice.say(entry, { type: "erased" });
  }

  /**
   * Its dealer is gone, and perhaps for ever. The share is erased only when the withdrawal is on
   * record with the key still proposed: an activation behind it cannot count on this party, and one
   * before it has won.
   */
  async #withdrawIfOver(entry: KeyEntry): Promise<void> {
    if (!this.#dealing.isOver(entry) || entry.said.has("rejected")) return;
    await this.#options.catchUp();
    if (entry.state !== "proposed") return;
    await this.#voice.reject(
      entry,
      new HsmError("ERR_EXPIRED", "the key was not activated before its proposal expired"),
    );
  }

  async #prepare(entry: KeyEntry): Promise<void> {
    if (!entry.isAuthorised) return;
    try {
      this.#dealing.requireAcceptable(entry);
    } catch (error) {
      await this.#voice.reject(entry, error);
      return;
    }
    const sealingKey = await this.#dealing.prepare(entry);
    await this.#voice.say(entry, { type: "ready", sealingKey });
  }

  /** Takes what THSM_DEAL holds for a key, delivered or not. What is wrong with it is counted on delivery. */
  async #lookUp(key: string): Promise<void> {
    const { dealt, log } = this.#options;
    const tell = (error: unknown): void => {
      log.debug({ key, error: describeError(error) }, "cannot look up a key share");
    };
    try {
      const message = await dealt(key);
      if (message === undefined) return;
      const sealed = readSealedShare(message);
      this.#enqueue(key, async () => {
        if (this.#dealing.isAwaited(sealed)) await this.#receive(message, sealed).catch(tell);
      });
    } catch (error) {
      tell(error);
    }
  }

  async #receive(message: StoredMessage, sealed: SealedShare): Promise<void> {
    const { cluster, directory, catchUp, store } = this.#options;
    verifySender(cluster, message, sealed, "client");
    if (directory.find(sealed.key) === undefined) await catchUp();
    const entry = directory.find(sealed.key);
    if (entry === undefined) throw new HsmError("ERR_UNKNOWN_KEY", "a share of no known key");
    this.#dealing.requireFor(entry, sealed);
    const isOver = entry.state !== "proposed" || this.#dealing.isOver(entry);
    if (isOver || entry.said.has("rejected") || store.has(sealed.key)) {
      // Repeated after a crash, or overtaken by events: what is still owed is said now.
      await this.#step(entry);
      return;
    }
    const oneTime = this.#dealing.takeSealingKey(sealed);
    let plain: Uint8Array;
    try {
      plain = await openShare(entry, oneTime, sealed);
    } catch (error) {
      await this.#voice.reject(entry, error);
      return;
    }
    try {
      await store.save(bindingOf(entry), plain);
    } finally {
      plain.fill(0);
    }
    // Also the erasure, when the key has died meanwhile.
    await this.#step(entry);
  }
}

/** What the stored share of a key is bound to. */
export function bindingOf({ record, party, proposal }: KeyEntry): ShareBinding {
  return { key: record.key, epoch: record.epoch, party, proposal };
}

function isSendersFault(code: HsmErrorCode): boolean {
  return [
    "ERR_INVALID_SIGNATURE",
    "ERR_UNKNOWN_SENDER",
    "ERR_UNKNOWN_KEY",
    "ERR_CONFLICT",
  ].includes(code);
}
