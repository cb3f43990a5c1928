/**
 * @module How far each stream was read, and a digest of every entry up to there: equal digests are equal
 * histories, byte for byte. An audit makes it for the next one, and compares it with the last one's.
 */
import { hash } from "node:crypto";
import type { Entry } from "../../streams/read.js";
import type { Report } from "./findings.js";
import { byStream, keptStreams, type KeptStream } from "./sources.js";

/** After `seq` entries of a stream; `digest` is hex. */
export interface Position {
  readonly seq: number;
  readonly digest: string;
}

/** What an audit leaves for the next one. */
export interface Mark {
  readonly time: string;
  /** Whether signatures were made again from their shares. */
  readonly recombined: boolean;
  readonly streams: Readonly<Record<KeptStream, Position>>;
  /** Entries whose signatures do not hold, and requests with something wrong: to be looked at again. */
  readonly again: Readonly<Record<KeptStream, readonly number[]>>;
}

const start = "0".repeat(64);

export class Positions {
  readonly #before: Mark | undefined;
  readonly #report: Report;
  readonly #seqs = byStream(() => 0);
  readonly #taken = byStream(() => 0);
  readonly #digests = byStream(() => start);
  readonly #again: Record<KeptStream, ReadonlySet<number>>;

  constructor(before: Mark | undefined, report: Report) {
    this.#before = before;
    this.#report = report;
    this.#again = byStream((stream) => new Set(before?.again[stream]));
  }

  /** Every entry, in the stream's order. */
  see(stream: KeptStream, entry: Entry): void {
    const end = this.#before?.streams[stream];
    if (end !== undefined && this.#seqs[stream] < end.seq && entry.seq > end.seq) {
      this.#differs(stream, entry.seq, `entry ${end.seq} is missing`);
    }
    // It has the number of one that was verified, and is another.
    if (end !== undefined && entry.seq <= this.#seqs[stream]) {
      this.#differs(
        stream,
        entry.seq,
        `entry ${entry.seq} is stored behind entry ${this.#seqs[stream]}`,
      );
    }
    const what = "message" in entry ? entry.message.hash : `junk ${entry.junk.message}`;
    const digest = hash("sha256", `${this.#digests[stream]} ${entry.seq} ${what}`, "hex");
    this.#digests[stream] = digest;
    this.#seqs[stream] = Math.max(entry.seq, this.#seqs[stream]);
    if (entry.seq === end?.seq && digest !== end.digest) {
      this.#differs(stream, entry.seq, `its entries up to ${end.seq} are not the same`);
    }
  }

  /** `isKnown`, for every entry in the stream's order: what comes behind its place was not there. */
  takeKnown(stream: KeptStream, seq: number): boolean {
    const isInOrder = seq > this.#taken[stream];
    this.#taken[stream] = Math.max(seq, this.#taken[stream]);
    return isInOrder && this.isKnown(stream, seq);
  }

  /** Whether the last audit saw this entry and found its signature to hold. */
  isKnown(stream: KeptStream, seq: number): boolean {
    return seq <= (this.#before?.streams[stream].seq ?? 0) && !this.#again[stream].has(seq);
  }

  /** Whether the last audit saw all of these entries, and made signatures again if that is asked for. */
  areJudged(
    entries: Readonly<Partial<Record<KeptStream, readonly number[]>>>,
    recombine: boolean,
  ): boolean {
    if (this.#before === undefined || (recombine && !this.#before.recombined)) return false;
    return keptStreams.every((stream) =>
      (entries[stream] ?? []).every((seq) => this.isKnown(stream, seq)),
    );
  }

  finish(): void {
    for (const stream of keptStreams) {
      const { seq = 0 } = this.#before?.streams[stream] ?? {};
      const last = this.#seqs[stream];
      if (last < seq) this.#differs(stream, last, `it ends at entry ${last}, and ended at ${seq}`);
    }
  }

  mark(): Mark["streams"] {
    return byStream((stream) => ({ seq: this.#seqs[stream], digest: this.#digests[stream] }));
  }

  #differs(stream: KeptStream, seq: number, what: string): void {
    this.#report({
      code: "AUDIT_ROLLED_BACK",
      stream,
      seq: [seq],
      text: `${stream} has changed since the audit of ${this.#before?.time}: ${what}; what was verified then was not verified again, so audit without the bookmark`,
    });
  }
}
