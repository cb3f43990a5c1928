/** @module What this node says of a key: its party's events, in its chain, on THSM_KEY. */
import { describeError, HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyAccepted, KeyErased, KeyReady, KeyRejected } from "../streams/keys.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { KeyEntry } from "./key-directory.js";
import type { Outbox } from "./outbox.js";

const longestReason = 400;

export interface KeyVoiceOptions {
  readonly node: string;
  readonly outbox: Outbox;
  readonly log: Logger;
  readonly now: () => number;
}

type Event<T extends { time: string; n: number; prev: string }> = Omit<
  T,
  "version" | "key" | "node" | "party" | "proposal" | "time" | "n" | "prev"
>;

export class KeyVoice {
  readonly #options: KeyVoiceOptions;

  constructor(options: KeyVoiceOptions) {
    this.#options = options;
  }

  /** Resolves when it is in the journal: then it is said, whatever happens to this process. */
  async say(
    entry: KeyEntry,
    event: Event<KeyReady> | Event<KeyAccepted> | Event<KeyRejected> | Event<KeyErased>,
  ): Promise<void> {
    const { node, outbox, now, log } = this.#options;
    const { key } = entry.record;
    const body = {
      version: formatVersion,
      key,
      node,
      party: entry.party,
      proposal: entry.proposal,
      ...event,
      time: new Date(now()).toISOString(),
    };
    await outbox.say(streamNames.keys, formatSubject({ kind: "key", key }), body);
    // The stream tells us too, but later; what is journaled is said.
    entry.said.add(event.type);
    log.info({ key, event: event.type }, "key event");
  }

  /**
   * Says why this node takes no part.
   * @throws whatever is not one of our own errors: that is a defect of ours
   */
  async reject(entry: KeyEntry, error: unknown): Promise<void> {
    if (!(error instanceof HsmError)) throw error;
    const { log } = this.#options;
    log.warn({ key: entry.record.key, error: describeError(error) }, "key rejected");
    const reason = error.message.slice(0, longestReason);
    await this.say(entry, { type: "rejected", code: error.code, reason });
  }
}
