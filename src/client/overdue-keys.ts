/**
 * @module Proposals whose dealer died: once they have expired, any client of their token abandons
 * them, so that none stays proposed for ever.
 */
import type { KeyRecord } from "../streams/key-life.js";
import { expiryOf } from "../streams/key-life.js";
import type { Bus } from "./bus.js";
import { abandon } from "./key-decisions.js";

const sweepMs = 1000;
/** A decision that was not stored is tried again after so long. */
const againMs = 10_000;
const goneText = "the proposal expired before the key was activated";

export interface OverdueOptions {
  readonly bus: Bus;
  readonly client: string;
  readonly tokens: readonly string[];
  /** Whether this very process is dealing the key: it ends that by itself. */
  readonly isOurs: (keyId: string) => boolean;
}

export class OverdueKeys {
  readonly #options: OverdueOptions;
  /** Proposals of others → since when this process has seen them, by a clock that nobody sets. */
  readonly #seenMs = new Map<string, number>();
  readonly #triedMs = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: OverdueOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.sweep(), sweepMs);
    this.#timer.unref();
  }

  /** Abandons what is overdue, as far as the identity is unlocked. Never rejects. */
  async sweep(): Promise<void> {
    const { bus, client } = this.#options;
    const now = performance.now();
    const overdue = [...bus.keys.all()].filter((record) => this.#isOverdue(record, now));
    if (!bus.identity.isOpen) return;
    for (const record of overdue) {
      if (now < (this.#triedMs.get(record.keyId) ?? -Infinity) + againMs) continue;
      this.#triedMs.set(record.keyId, now);
      await abandon(bus, client, record, goneText);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #isOverdue(record: KeyRecord, now: number): boolean {
    const { client, tokens, isOurs } = this.#options;
    const { keyId, proposal, state } = record;
    if (state !== "proposed" || !tokens.includes(proposal.token) || isOurs(keyId)) {
      this.#seenMs.delete(keyId);
      return false;
    }
    if (Date.now() < expiryOf(proposal)) return false;
    if (proposal.client === client) return true;
    // Our clock may be ahead of the dealer's: give it the time that it asked for.
    const sinceMs = this.#seenMs.get(keyId) ?? now;
    this.#seenMs.set(keyId, sinceMs);
    return now - sinceMs >= expiryOf(proposal) - Date.parse(proposal.time);
  }
}
