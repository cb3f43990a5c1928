/** @module A stream's sequence numbers: 1, 2, 3 … to the end. The streams deny deletion. */
import type { Report } from "./findings.js";
import type { KeptStream, StreamBounds } from "./sources.js";

export class SequenceCheck {
  readonly #stream: KeptStream;
  readonly #last: number;
  readonly #report: Report;
  #next = 1;

  constructor(stream: KeptStream, { last }: StreamBounds, report: Report) {
    this.#stream = stream;
    this.#last = last;
    this.#report = report;
  }

  see(seq: number): void {
    if (seq > this.#next) this.#missing(this.#next, seq - 1);
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

  finish(): void {
    if (this.#next <= this.#last) this.#missing(this.#next, this.#last);
  }

  #missing(from: number, to: number): void {
    const which = from === to ? `entry ${from} is` : `entries ${from} to ${to} are`;
    this.#report({
      code: "AUDIT_SEQUENCE_GAP",
      stream: this.#stream,
      seq: from === to ? [from] : [from, to],
      text: `${this.#stream}: ${which} missing, though nothing can be deleted there by the rules`,
    });
  }
}
