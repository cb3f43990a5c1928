/** @module So many calls at a time, the rest in the order of their coming. */
import { ckr } from "./ckr.js";
import { CkrError } from "./errors-to-ckr.js";

/** The calls of one application, or of one user. */
export class Turns {
  readonly #limit: number;
  readonly #limitName: string;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(limit: number, limitName: string) {
    this.#limit = limit;
    this.#limitName = limitName;
  }

  /** Whether the next one would have to wait. */
  get isFull(): boolean {
    return this.#taken >= this.#limit;
  }

  /**
   * Waits for a turn and acts in it.
   * @throws CkrError DEVICE_MEMORY when none was free in time.
   */
  async during<T>(timeoutMs: number, act: () => Promise<T>): Promise<T> {
    await this.#take(timeoutMs);
    try {
      return await act();
    } finally {
      this.#release();
    }
  }

  async #take(timeoutMs: number): Promise<void> {
    if (!this.isFull) {
      this.#taken++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(go);
        const text = `${this.#limit} other calls were under way for ${timeoutMs} ms`;
        reject(new CkrError(ckr.DEVICE_MEMORY, `${text}: see ${this.#limitName}`));
      }, timeoutMs);
      const go = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(go);
    });
  }

  /** Hands the turn on to whoever has waited longest. */
  #release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
