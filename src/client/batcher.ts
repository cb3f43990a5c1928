/**
 * @module Concurrent wishes for one key become few requests: a request goes out at once while few
 * are under way, and what waits meanwhile goes out together. Messaging is paid per request, the
 * exponentiations per input. Callers who were answered together mostly come back for more, one after
 * another: the first of them waits a moment for the others.
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
  /** How long those who travelled together are waited for. Whoever travelled alone waits for nobody. */
  readonly returnMs: number;
  /** Signs the items together; one signature an item. */
  readonly sign: (items: readonly Item[]) => Promise<readonly Uint8Array[]>;
}

export class Batcher {
  readonly #options: BatcherOptions;
  #waiting: Item[] = [];
  #underWay = 0;
  #isScheduled = false;
  /** So many are expected back, until the timer ends. */
  #expected = 0;
  #returnTimer: NodeJS.Timeout | undefined;

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

  #send(): void {
    const { window, batch } = this.#options;
    this.#waiting = this.#waiting.filter(({ call }) => !call.isOver);
    if (this.#waiting.length < this.#expected) return;
    this.#expectNobody();
    while (this.#waiting.length > 0 && this.#underWay < window) {
      const fair = Math.ceil(this.#waiting.length / (window - this.#underWay));
      const items = this.#waiting.splice(0, Math.min(batch, fair));
      this.#underWay += 1;
      void this.#run(items);
    }
  }

  async #run(items: readonly Item[]): Promise<void> {
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
      if (items.length > 1) this.#expect(items.length);
      this.#schedule();
    }
  }

  #expect(count: number): void {
    this.#expected += count;
    this.#returnTimer ??= setTimeout(() => {
      this.#expectNobody();
      this.#schedule();
    }, this.#options.returnMs);
  }

  #expectNobody(): void {
    this.#expected = 0;
    clearTimeout(this.#returnTimer);
    this.#returnTimer = undefined;
  }
}
