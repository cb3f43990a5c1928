/**
 * @module Messages that are not worth an answer: junk, forgeries, what comes too late. They are
 * counted by code and told at most once a minute, so that a flood of them is visible and yet no
 * flood of our own.
 */
import type { HsmErrorCode } from "../errors.js";
import type { Logger } from "../log.js";

export class IgnoredMessages {
  readonly #counts = new Map<HsmErrorCode, number>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  count(code: HsmErrorCode, why: string): void {
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    this.#log.debug({ code, why }, "message ignored");
  }

  /** "CODE count" each since the last call; empty when nothing was ignored. */
  take(): string[] {
    const counts = [...this.#counts].map(([code, count]) => `${code} ${count}`);
    this.#counts.clear();
    return counts;
  }
}
