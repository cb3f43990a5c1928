/**
 * @module A projection's feed: a stream from its beginning, in order and without gaps, and then
 * for as long as the process lives. Live messages come by the server's `stored` subject; whatever
 * that loses (a reconnect, a slow reader) is found by sequence number and read again.
 */
import type { NatsConnection, Subscription } from "nats";
import { describeError, HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import type { StoredMessage } from "./envelope.js";
import type { StreamReader } from "./read.js";
import { storedSubject, type StreamName } from "./subjects.js";

const pollMs = 5000;

export interface FollowOptions {
  readonly connection: NatsConnection;
  readonly reader: StreamReader;
  readonly stream: StreamName;
  /** The filter that the stream captures, e.g. `thsm.v1.key.>`. */
  readonly filter: string;
  readonly log: Logger;
  /** Called in stream order, one at a time. A rejection is logged and skipped, never fatal. */
  readonly apply: (message: StoredMessage) => Promise<void> | void;
}

export class StreamFollower {
  readonly #options: FollowOptions;
  readonly #subscription: Subscription;
  readonly #timer: NodeJS.Timeout;
  #applied = 0;
  #running: Promise<void> | undefined;
  #closed = false;
  #rung = false;

  constructor(options: FollowOptions) {
    this.#options = options;
    const subject = storedSubject(options.filter);
    // The repeated message is only a bell: what is applied is read from the stream itself.
    this.#subscription = options.connection.subscribe(subject, {
      callback: () => this.#ring(),
    });
    this.#timer = setInterval(() => this.#ring(), pollMs);
    this.#timer.unref();
  }

  /** Sequence number of the last message applied. */
  get applied(): number {
    return this.#applied;
  }

  /**
   * Resolves when everything that the stream held at the time of the call has been applied.
   * @throws HsmError `ERR_BROKER_UNREACHABLE`, `ERR_AUDIT_MISMATCH` when the stream has become
   * shorter than what was read from it
   */
  async catchUp(): Promise<void> {
    // A run under way may have asked for the end before the caller's message was stored.
    await this.#running?.catch(() => undefined);
    await this.#run();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }

  #ring(): void {
    if (this.#closed) return;
    this.#rung = true;
    this.#run().catch((error: unknown) => {
      const { log, stream } = this.#options;
      if (!this.#closed) log.warn({ stream, error: describeError(error) }, "cannot follow stream");
    });
  }

  #run(): Promise<void> {
    this.#running ??= this.#advance().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #advance(): Promise<void> {
    const { reader, stream, filter, apply, log } = this.#options;
    for (;;) {
      this.#rung = false;
      const last = await reader.lastSeq(stream, filter);
      if (last < this.#applied) {
        throw new HsmError(
          "ERR_AUDIT_MISMATCH",
          `${stream} ends at ${last}, but ${this.#applied} messages of it have been read`,
        );
      }
      if (last === this.#applied) {
        // A bell during the read may mean a message behind the end that was just read.
        if (this.#rung) continue;
        return;
      }
      for await (const entry of reader.replay(stream, this.#applied + 1, last)) {
        if (this.#closed) throw new HsmError("ERR_ABORTED", `no longer following ${stream}`);
        try {
          if ("junk" in entry) throw entry.junk;
          await apply(entry.message);
        } catch (error) {
          log.warn({ stream, seq: entry.seq, error: describeError(error) }, "message ignored");
        }
        this.#applied = entry.seq;
      }
      this.#applied = last;
    }
  }
}
