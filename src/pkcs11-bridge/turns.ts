/** @module So many calls at a time, the rest in the order of their coming. */
import { ckr } from "./ckr.js";
import { CkrError } from "./errors-to-ckr.js";

/** The calls of one application. */
export class Turns {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether the next one would have to wait. */
  get isFull(): boolean {
    return this.#taken >= this.#limit;
  }

  /**
   * Waits for a turn, which {@link release} ends.
   * @throws CkrError DEVICE_MEMORY when none was free in time.
   */
  async take(timeoutMs: number): Promise<void> {
    if (!this.isFull) {
      this.#taken++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(go);
        const text = `${this.#limit} calls of this application were under way for ${timeoutMs} ms`;
        reject(new CkrError(ckr.DEVICE_MEMORY, `${text}: see maxCallsPerApplication`));
      }, timeoutMs);
      const go = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(go);
    });
  }

  /** Hands the turn on to whoever has waited longest. */
  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
