/**
 * @module A stream's sequence numbers: 1, 2, 3 … to the end. The streams deny deletion; what an operator let go of is
 * missing all the same, and its export is to be named.
 */
import type { Rotated } from "../../streams/audit-events.js";
import type { Report } from "./findings.js";
import type { KeptStream, StreamBounds } from "./sources.js";

export class SequenceCheck {
  readonly #stream: KeptStream;
  readonly #last: number;
  readonly #report: Report;
  #next = 1;
  /** What is missing before the first entry. */
  #head = 0;
  #rotated: { readonly exported: number; readonly event: Rotated } | undefined;

  constructor(stream: KeptStream, { last }: StreamBounds, report: Report) {
    this.#stream = stream;
    this.#last = last;
    this.#report = report;
  }

  see(seq: number): void {
    if (seq > this.#next) {
      if (this.#next === 1) this.#head = seq - 1;
      else this.#missing(this.#next, seq - 1);
    }
    if (seq < this.#next) {
      this.#report({
        code: "AUDIT_SEQUENCE_GAP",
        stream: this.#stream,
        seq: [seq],
        text: `${this.#stream} has entry ${seq} again or out of order, after entry ${this.#next - 1}`,
      });
    }
    this.#next = Math.max(this.#next, seq + 1);
  }

  /** What an operator signed that it let go of. */
  rotated(event: Rotated): void {
    for (const one of event.letGo) {
      const [stream, , last] = one.split(" ");
      const exported = Number(last);
      if (stream !== this.#stream || exported < (this.#rotated?.exported ?? 0)) continue;
      this.#rotated = { exported, event };
    }
  }

  finish(): void {
    if (this.#head > 0) this.#missing(1, this.#head, this.#whoLetGo());
    if (this.#next <= this.#last) this.#missing(this.#next, this.#last);
  }

  #whoLetGo(): string | undefined {
    if (this.#rotated === undefined) return undefined;
    const { exported, event } = this.#rotated;
    const { operator, time, manifest } = event;
    return exported < this.#head
      ? `, though operator ${operator} exported no more than ${exported} before letting go of them at ${time}`
      : `: operator ${operator} let go of them at ${time}; name with --with the exports up to the one whose manifest.json has SHA-256 ${manifest}`;
  }

  #missing(
    from: number,
    to: number,
    why = ", though nothing can be deleted there by the rules",
  ): void {
    const which = from === to ? `entry ${from} is` : `entries ${from} to ${to} are`;
    this.#report({
      code: "AUDIT_SEQUENCE_GAP",
      stream: this.#stream,
      seq: from === to ? [from] : [from, to],
      text: `${this.#stream}: ${which} missing${why}`,
    });
  }
}
