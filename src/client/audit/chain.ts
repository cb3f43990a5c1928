/**
 * @module Hash chains: a node's over everything it publishes, whichever stream holds it, and a session's over
 * its events. Numbers 1, 2, 3 …, each message naming the hash of the one before. Fed in any order, because no
 * order across streams can be trusted. Costs 16 bytes a message: a second message of a number must be told
 * from a repeat.
 */
import { chainStart, type StoredMessage } from "../../streams/envelope.js";
import type { ChainLink, ChainOwner } from "./admit.js";
import type { FindingCode, Report } from "./findings.js";
import { Marks } from "./marks.js";

/** Numbers without a gap, from `first` on. */
class Run {
  readonly first: number;
  readonly prev: string;
  readonly message: Pick<StoredMessage, "stream" | "seq">;
  readonly #marks = new Marks();
  #last = "";

  constructor(first: number, prev: string, message: Pick<StoredMessage, "stream" | "seq">) {
    this.first = first;
    this.prev = prev;
    this.message = message;
  }

  /** The number that comes next. */
  get end(): number {
    return this.first + this.#marks.count;
  }

  get count(): number {
    return this.#marks.count;
  }

  /** Hash of the run's last message. */
  get last(): string {
    return this.#last;
  }

  isAt(n: number, hash: string): boolean {
    return this.#marks.isAt(n - this.first, hash);
  }

  append(hash: string): void {
    this.#marks.append(hash);
    this.#last = hash;
  }

  /** Takes over the run that begins where this one ends. */
  join(after: Run): void {
    this.#marks.appendAll(after.#marks);
    this.#last = after.#last;
  }
}

/** Where a chain ends: the number and hash of its newest message. */
export interface ChainEnd {
  readonly n: number;
  readonly hash: string;
}

export class Chain {
  readonly #owner: ChainOwner;
  readonly #report: Report;
  /** In order of numbers, not overlapping. */
  readonly #runs: Run[] = [];
  /** The highest number that each stream has shown. */
  readonly #highest = new Map<string, number>();

  constructor(owner: ChainOwner, report: Report) {
    this.#owner = owner;
    this.#report = report;
  }

  /** "repeat": the same bytes are in the chain already. "fork": other bytes with this number are. */
  add(
    { n, prev }: Pick<ChainLink, "n" | "prev">,
    message: StoredMessage,
  ): "new" | "repeat" | "fork" {
    const index = this.#lastRunUpTo(n);
    const before = this.#runs[index];
    if (before !== undefined && n < before.end) {
      if (before.isAt(n, message.hash)) return "repeat";
      this.#tell("AUDIT_CHAIN_FORK", message, `signed two different messages as its number ${n}`);
      return "fork";
    }
    if (n < 1) {
      this.#tell("AUDIT_CHAIN_BROKEN", message, `numbered a message ${n}; numbers start at 1`);
      return "fork";
    }
    this.#insert(index, n, prev, message);
    const highest = this.#highest.get(message.stream) ?? 0;
    if (n < highest) {
      const what = `is stored with its number ${n} behind its number ${highest}`;
      this.#tell("AUDIT_CHAIN_ORDER", message, what);
    } else this.#highest.set(message.stream, n);
    return "new";
  }

  /** Reports what is missing. Undefined when nothing was added. */
  finish(): ChainEnd | undefined {
    let expected = 1;
    for (const run of this.#runs) {
      if (run.first > expected) {
        const last = run.first - 1;
        const which = last === expected ? `${last} is` : `${expected} to ${last} are`;
        this.#tell("AUDIT_CHAIN_GAP", run.message, `numbered its messages, but ${which} missing`);
      }
      expected = run.end;
    }
    const newest = this.#runs.at(-1);
    if (newest === undefined) return undefined;
    return { n: newest.end - 1, hash: newest.last };
  }

  #insert(index: number, n: number, prev: string, message: StoredMessage): void {
    let run = this.#runs[index];
    const continues = run !== undefined && run.end === n;
    if (n === 1) this.#link(prev, chainStart, n, message);
    if (run !== undefined && continues) {
      this.#link(prev, run.last, n, message);
    } else {
      run = new Run(n, prev, { stream: message.stream, seq: message.seq });
      this.#runs.splice(++index, 0, run);
    }
    run.append(message.hash);
    const after = this.#runs[index + 1];
    if (after?.first !== run.end) return;
    this.#link(after.prev, message.hash, after.first, after.message);
    // Only the shorter to the longer: that bounds the copying, whatever the order.
    if (after.count > run.count) return;
    run.join(after);
    this.#runs.splice(index + 1, 1);
  }

  /** Index of the last run that starts at or before `n`, -1 when there is none. */
  #lastRunUpTo(n: number): number {
    let [low, high] = [0, this.#runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#runs[middle]?.first ?? 0) <= n) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #link(
    prev: string,
    expected: string,
    n: number,
    message: Pick<StoredMessage, "stream" | "seq">,
  ): void {
    if (prev === expected) return;
    this.#tell(
      "AUDIT_CHAIN_BROKEN",
      message,
      `signed as number ${n} a message that does not follow its number ${n - 1} as stored`,
    );
  }

  #tell(
    code: Extract<FindingCode, `AUDIT_CHAIN_${string}`>,
    { stream, seq }: Pick<StoredMessage, "stream" | "seq">,
    what: string,
  ): void {
    // What has been admitted from a stream has its name.
    if (stream === "") throw new TypeError("message of no stream");
    this.#report({
      code,
      stream,
      seq: [seq],
      ...this.#owner.whose,
      text: `${this.#owner.name} ${what}`,
    });
  }
}
