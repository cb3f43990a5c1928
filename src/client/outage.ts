/**
 * @module A known outage: one call in a while tries whether it is over, the others fail as that one did. A program with
 * thousands of signatures to make hears of it at once, and can end when it is told to.
 */
import { HsmError, type HsmErrorCode } from "../errors.js";

const betweenTriesMs = 10_000;
/** What an outage does to a call. Other errors are the call's own. */
const inVain: ReadonlySet<HsmErrorCode> = new Set([
  "ERR_QUORUM_NOT_REACHED",
  "ERR_BROKER_UNREACHABLE",
  "ERR_DEADLINE",
]);

export class Outage {
  readonly #now: () => number;
  #newest: HsmError | undefined;
  #nextTryMs = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @throws what `attempt` does, or what another did a moment ago */
  async during<T>(attempt: () => Promise<T>): Promise<T> {
    if (this.#newest !== undefined && this.#now() < this.#nextTryMs) throw this.#newest;
    if (this.#newest !== undefined) this.#nextTryMs = this.#now() + betweenTriesMs;
    try {
      const result = await attempt();
      this.over();
      return result;
    } catch (error) {
      if (error instanceof HsmError && inVain.has(error.code)) {
        this.#newest = error;
        this.#nextTryMs = this.#now() + betweenTriesMs;
      }
      throw error;
    }
  }

  over(): void {
    this.#newest = undefined;
  }
}
