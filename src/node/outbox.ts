/**
 * @module From the journal to the streams: everything that was journaled is published, in that order
 * and for as long as it takes. A file remembers lazily up to where; what lies behind it is published
 * again after a crash, with identical bytes, which the streams' duplicate detection and every reader
 * take as one message.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { describeError, HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Publisher } from "../streams/publish.js";
import type { StreamName } from "../streams/subjects.js";
import type { Journal } from "./journal.js";
import type { JournalEntry, WrittenEntry } from "./journal-segments.js";

const tryMs = 10_000;
const firstRetryMs = 250;
const lastRetryMs = 10_000;
const markerMs = 1000;
/** More in flight gains nothing and makes the broker's buffers grow. */
const maxInFlight = 512;

/** A message that is on this node's disk, and will be on its stream. */
export interface Said {
  readonly entry: WrittenEntry;
  /** Resolves when the stream has it. Rejects only when the outbox is closed. */
  readonly stored: Promise<void>;
}

interface Item {
  readonly entry: JournalEntry;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface OutboxOptions {
  readonly journal: Journal;
  readonly publisher: Pick<Publisher, "publish">;
  readonly markerPath: string;
  /** Everything up to this number is published, as `readMarker` told. */
  readonly published: number;
  readonly log: Logger;
}

/** Up to which number everything had been published, some time before the last stop. */
export async function readMarker(path: string): Promise<number> {
  const text = await readFile(path, "utf8").catch(() => "0");
  // A damaged marker only means that more is published again.
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #queue: Item[] = [];
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** Published, with unpublished ones before them. */
  readonly #ahead = new Set<number>();
  #published: number;
  #marked: number;
  #inFlight = 0;
  #isFailing = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#published = options.published;
    this.#marked = options.published;
    this.#timer = setInterval(() => void this.#mark(), markerMs);
    this.#timer.unref();
  }

  /** Everything up to this number is on its stream. */
  get published(): number {
    return this.#published;
  }

  /**
   * Says something: resolves when it is in the journal, from where it is published.
   * @throws HsmError `ERR_JOURNAL`
   */
  async say(stream: StreamName, subject: string, body: { time: string }): Promise<Said> {
    const entry = await this.#options.journal.speak(stream, subject, body);
    return { entry, stored: this.publish(entry) };
  }

  /** Publishes what the journal has, for the first time or again. */
  publish(entry: JournalEntry): Promise<void> {
    const stored = new Promise<void>((resolve, reject) => {
      this.#queue.push({ entry, resolve, reject });
    });
    // Whoever does not wait for it need not hear that the process is ending.
    stored.catch(() => undefined);
    this.#pump();
    return stored;
  }

  /** Gives up what is not yet published: it is in the journal, and the next start goes on. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    for (const { reject } of this.#queue.splice(0)) reject(closed());
    await this.#mark();
  }

  #pump(): void {
    while (this.#inFlight < maxInFlight && !this.#closing.signal.aborted) {
      const item = this.#queue.shift();
      if (item === undefined) return;
      this.#inFlight++;
      void this.#deliver(item).finally(() => {
        this.#inFlight--;
        this.#pump();
      });
    }
  }

  async #deliver({ entry, resolve, reject }: Item): Promise<void> {
    const { publisher, log } = this.#options;
    const { signal } = this.#closing;
    for (let retryMs = firstRetryMs; !signal.aborted; retryMs = nextRetry(retryMs)) {
      try {
        await publisher.publish(entry.message, { timeoutMs: tryMs, signal });
        if (this.#isFailing) log.info({ n: entry.n }, "publishing works again");
        this.#isFailing = false;
        this.#advance(entry.n);
        resolve();
        return;
      } catch (error) {
        if (signal.aborted) break;
        if (!this.#isFailing) {
          const { stream } = entry.message;
          log.warn({ stream, n: entry.n, error: describeError(error) }, "cannot publish; retrying");
        }
        this.#isFailing = true;
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
    reject(closed());
  }

  #advance(n: number): void {
    if (n > this.#published) this.#ahead.add(n);
    while (this.#ahead.delete(this.#published + 1)) this.#published++;
  }

  /** Not synced: an older marker only means that more is published again. */
  async #mark(): Promise<void> {
    const { markerPath, log } = this.#options;
    const published = this.#published;
    if (published === this.#marked) return;
    this.#marked = published;
    try {
      await writeFile(`${markerPath}.tmp`, String(published), { mode: 0o600 });
      await rename(`${markerPath}.tmp`, markerPath);
    } catch (error) {
      log.warn({ error: describeError(error) }, "cannot write the marker of what is published");
    }
  }
}

function nextRetry(ms: number): number {
  return Math.min(2 * ms, lastRetryMs);
}

function closed(): HsmError {
  return new HsmError("ERR_ABORTED", "the node is stopping");
}
