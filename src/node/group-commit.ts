/**
 * @module One write to the disk for all that is said while the last one ran, in order. A disk that has failed
 * once is not asked again: which bytes it has is unknown then, and a sync that failed may succeed next time
 * without having written anything. Only a new start, which reads the file, can tell.
 */
import { setTimeout as delay } from "node:timers/promises";
import { HsmError } from "../errors.js";

export interface GroupCommitOptions<T, R> {
  /** Names the file in errors: "the journal". */
  readonly what: string;
  /** How long more is waited for before a write; 0 for what comes in the same turn. */
  readonly gatherMs: number;
  /** Puts the items on disk. Resolves with one result an item when the disk has them all. */
  readonly write: (items: readonly T[]) => Promise<readonly R[]>;
  /** Called once when the disk fails. Nothing can be written any more: the process must end. */
  readonly onFailure: (error: HsmError) => void;
}

interface Pending<T, R> {
  readonly item: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: Error) => void;
}

export class GroupCommit<T, R> {
  readonly #options: GroupCommitOptions<T, R>;
  readonly #closing = new AbortController();
  #pending: Pending<T, R>[] = [];
  #writing: Promise<void> | undefined;
  #failure: HsmError | undefined;

  constructor(options: GroupCommitOptions<T, R>) {
    this.#options = options;
  }

  /** Why nothing can be written any more. */
  get failure(): HsmError | undefined {
    return this.#failure;
  }

  /** Resolves when the item is on disk. @throws HsmError `ERR_JOURNAL`, `ERR_ABORTED` after `close` */
  add(item: T): Promise<R> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#pending.push({ item, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  /** Resolves when everything added is on disk, without waiting for more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
    this.#failure ??= new HsmError("ERR_ABORTED", `${this.#options.what} is closed`);
  }

  async #write(): Promise<void> {
    const { gatherMs, write, what, onFailure } = this.#options;
    const { signal } = this.#closing;
    let batch: Pending<T, R>[] = [];
    try {
      while (this.#pending.length > 0) {
        if (gatherMs === 0) await Promise.resolve();
        else await delay(gatherMs, undefined, { signal }).catch(() => undefined);
        batch = this.#pending;
        this.#pending = [];
        const results = await write(batch.map(({ item }) => item));
        for (const [i, result] of results.entries()) batch[i]?.resolve(result);
      }
    } catch (cause) {
      this.#failure = new HsmError("ERR_JOURNAL", `${what} cannot be written`, { cause });
      for (const { reject } of [...batch, ...this.#pending]) reject(this.#failure);
      onFailure(this.#failure);
    } finally {
      this.#writing = undefined;
    }
  }
}
