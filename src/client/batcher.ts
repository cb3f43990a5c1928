/**
 * @module Concurrent wishes for one key become few requests: a request goes out at once while few
 * are under way, and what waits meanwhile goes out together. Messaging is paid per request, the
 * exponentiations per input. So when there are more callers than requests may be under way, each request waits a
 * moment until it carries its share of them: callers come back for more one after another.
 */
import { HsmError } from "../errors.js";

export interface Item {
  readonly data: Uint8Array;
  readonly encoded: Uint8Array;
  readonly salt: Uint8Array | undefined;
  readonly deadlineMs: number;
  readonly resolve: (signature: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  /** Set when nobody waits for the item any more: leave it out. */
  readonly call: { isOver: boolean };
}

export interface BatcherOptions {
  /** Requests under way at once. */
  readonly window: number;
  /** Most inputs in a request. */
  readonly batch: number;
  /** How long a request waits for its share of the callers, when requests take `meanMs`. */
  readonly gatherMs: (meanMs: number) => number;
  /** Signs the items together; one signature an item. */
  readonly sign: (items: readonly Item[]) => Promise<readonly Uint8Array[]>;
}

export class Batcher {
  readonly #options: BatcherOptions;
  #waiting: Item[] = [];
  #underWay = 0;
  /** Inputs of the requests under way. */
  #inputs = 0;
  /** What a request takes, exponentially weighted. */
  #meanMs = 0;
  #isScheduled = false;
  #gathering: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#underWay === 0 && this.#waiting.length === 0;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    this.#schedule();
  }

  /** Waits for the end of this turn of the event loop, so that what arrives together goes together. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  /** With `isLate`, what waits has waited long enough. */
  #send(isLate = false): void {
    const { window, batch } = this.#options;
    this.#waiting = this.#waiting.filter(({ call }) => !call.isOver);
    while (this.#waiting.length > 0 && this.#underWay < window) {
      const share = Math.ceil((this.#inputs + this.#waiting.length) / window);
      const wanted = Math.min(batch, share);
      if (this.#waiting.length < wanted && !isLate) {
        this.#gather();
        return;
      }
      void this.#run(this.#waiting.splice(0, wanted));
    }
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => this.#send(true), this.#options.gatherMs(this.#meanMs));
  }

  async #run(items: readonly Item[]): Promise<void> {
    this.#underWay += 1;
    this.#inputs += items.length;
    const startedMs = performance.now();
    try {
      const signatures = await this.#options.sign(items);
      for (const [index, item] of items.entries()) {
        const signature = signatures[index];
        if (signature === undefined) item.reject(new HsmError("ERR_INTERNAL", "signature missing"));
        else item.resolve(signature);
      }
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      for (const item of items) item.reject(failure);
    } finally {
      this.#underWay -= 1;
      this.#inputs -= items.length;
      this.#meanMs += (performance.now() - startedMs - this.#meanMs) / 8;
      this.#schedule();
    }
  }
}
