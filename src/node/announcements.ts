/** @module What a node says of its own accord: that it has started, that it lives, what it ignored. */
import { randomBytes } from "node:crypto";
import type { NatsConnection } from "nats";
import { toBase64url } from "../identity/encoding.js";
import type { IdentityKey } from "../identity/identity-key.js";
import type { NodeIgnored, NodeStarted } from "../streams/audit-events.js";
import type { Heartbeat } from "../streams/beats.js";
import { messageHeaders, signMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { HistoryGuard } from "./history-guard.js";
import type { IgnoredMessages } from "./ignored.js";
import { softwareVersion } from "../version.js";
import type { KeyDirectory } from "./key-directory.js";
import type { Outbox, Said } from "./outbox.js";
import type { SigningPool } from "./signing-pool.js";

export interface AnnouncementOptions {
  readonly node: string;
  readonly key: IdentityKey;
  readonly connection: NatsConnection;
  readonly outbox: Outbox;
  readonly pool: SigningPool;
  readonly directory: KeyDirectory;
  readonly ignored: IgnoredMessages;
  readonly guard: Pick<HistoryGuard, "breach">;
  readonly now: () => number;
}

export class Announcements {
  readonly #options: AnnouncementOptions;
  /** Tells the lives of a node apart. */
  readonly #boot = toBase64url(randomBytes(16));
  #beats = 0;

  constructor(options: AnnouncementOptions) {
    this.#options = options;
  }

  async sayStarted(): Promise<void> {
    const event: Unchained<NodeStarted> = {
      ...this.#head(),
      type: "node-started",
      boot: this.#boot,
    };
    await this.#say(event);
  }

  /** Resolves when the stream has it, at once when nothing was ignored. */
  async sayIgnored(): Promise<void> {
    const counts = this.#options.ignored.take();
    if (counts.length === 0) return;
    const event: Unchained<NodeIgnored> = { ...this.#head(), type: "ignored", counts };
    const { stored } = await this.#say(event);
    await stored;
  }

  /** Not stored and not in the chain: only who listens now learns of it. */
  beat(): void {
    const { node, key, connection, pool, directory, guard } = this.#options;
    const body: Heartbeat = {
      ...this.#head(),
      boot: this.#boot,
      beat: this.#beats++,
      queued: pool.waiting,
      activeKeys: directory.activeCount,
      software: softwareVersion,
      signed: pool.signed,
      ...(guard.breach === undefined ? {} : { halted: guard.breach.message }),
    };
    const message = signMessage(key, "", formatSubject({ kind: "beat", node }), body);
    connection.publish(message.subject, message.payload, { headers: messageHeaders(message) });
  }

  #say(event: Unchained<NodeStarted | NodeIgnored>): Promise<Said> {
    const { node, outbox } = this.#options;
    return outbox.say(streamNames.audit, formatSubject({ kind: "node-audit", node }), event);
  }

  #head(): { version: number; node: string; time: string } {
    const { node, now } = this.#options;
    return { version: formatVersion, node, time: new Date(now()).toISOString() };
  }
}

/** The journal gives a message its place in the chain. */
type Unchained<T extends { n: number; prev: string }> = Omit<T, "n" | "prev">;
