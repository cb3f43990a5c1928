/**
 * @module Signature shares by threads. One piscina of one thread each, so that a key can be erased
 * from every thread for certain and a thread is told each key once. Requests take turns in small
 * portions: one signature does not wait for somebody else's batch of 64.
 */
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import { HsmError } from "../errors.js";
import { groupKeyBytes, type GroupKey, type ProofContext } from "../scheme/index.js";
import type { KeyMaterial, Signed, SigningFault, WorkerTask } from "./signing-worker.js";

/** Portions that a thread has at once: one in work and one so that it never waits for us. */
const portionsPerThread = 2;
/**
 * A share costs the cube of the modulus' length; a portion about as much as eight of 2048 bits. Handing
 * a portion over wakes two threads: with one share each, that was a fifth of the throughput.
 */
const portionWork = 8 * 2048 ** 3;
/** A proof costs four shares. */
const workWithProof = 5;

/** A key that the pool can sign with. */
export interface PoolKey {
  readonly handle: number;
  readonly group: GroupKey;
  readonly material: KeyMaterial;
}

export interface SigningJob {
  readonly key: PoolKey;
  readonly encodedMessages: readonly Uint8Array[];
  readonly proof?: ProofContext;
  /** Asked before every portion: why the result would be of no use any more. */
  readonly obstacle: () => HsmError | undefined;
}

interface QueuedJob extends SigningJob {
  readonly portion: number;
  readonly results: Signed[];
  next: number;
  inWork: number;
  readonly resolve: (signed: Signed) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly piscina: Piscina<WorkerTask, Signed | SigningFault | undefined>;
  readonly handles: Set<number>;
  inWork: number;
}

export class SigningPool {
  readonly #threads: readonly Thread[];
  readonly #maxWaiting: number;
  readonly #queue: QueuedJob[] = [];
  #waiting = 0;
  #signed = 0;
  #handles = 0;

  /** `maxWaiting`: inputs that may wait for a thread before `sign` refuses. */
  constructor(threads: number, maxWaiting = 4096) {
    this.#maxWaiting = maxWaiting;
    const filename = fileURLToPath(new URL("signing-worker.js", import.meta.url));
    this.#threads = Array.from({ length: threads }, () => ({
      piscina: new Piscina<WorkerTask, Signed | SigningFault | undefined>({
        filename,
        name: "runTask",
        minThreads: 1,
        maxThreads: 1,
        concurrentTasksPerWorker: portionsPerThread,
        // A thread has little to keep; what it drops should not pile up.
        resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
      }),
      handles: new Set<number>(),
      inWork: 0,
    }));
  }

  /** Inputs that wait for a thread. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Shares made so far. */
  get signed(): number {
    return this.#signed;
  }

  /** Takes over a serialized key share: the bytes are moved into shared memory and overwritten. */
  addKey(group: GroupKey, share: Uint8Array): PoolKey {
    const shared = new SharedArrayBuffer(share.length);
    new Uint8Array(shared).set(share);
    share.fill(0);
    return {
      handle: ++this.#handles,
      group,
      material: { group: groupKeyBytes(group), share: shared },
    };
  }

  /** Overwrites the share. Resolves when no thread holds anything of it. */
  async eraseKey({ handle, material }: PoolKey): Promise<void> {
    new Uint8Array(material.share).fill(0);
    for (const thread of this.#threads) {
      if (thread.handles.delete(handle)) await thread.piscina.run({ type: "forget", handle });
    }
  }

  /**
   * A share for each encoded message, and proofs when asked for.
   * @throws HsmError `ERR_DEADLINE` when too much waits already, the obstacle, or what signing throws
   */
  sign(job: SigningJob): Promise<Signed> {
    const count = job.encodedMessages.length;
    if (this.#waiting + count > this.#maxWaiting) {
      return Promise.reject(
        new HsmError("ERR_DEADLINE", `${this.#waiting} inputs wait already: ask another node`),
      );
    }
    const work = job.key.group.modulusBits ** 3 * (job.proof === undefined ? 1 : workWithProof);
    const portion = Math.max(1, Math.floor(portionWork / work));
    this.#waiting += count;
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...job, portion, results: [], next: 0, inWork: 0, resolve, reject });
      this.#dispatch();
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ piscina }) => piscina.destroy()));
  }

  #dispatch(): void {
    for (;;) {
      const thread = this.#threads.reduce((a, b) => (b.inWork < a.inWork ? b : a));
      if (thread.inWork >= portionsPerThread) return;
      const job = this.#queue.shift();
      if (job === undefined) return;
      const obstacle = job.obstacle();
      if (obstacle !== undefined) {
        this.#drop(job, obstacle);
        continue;
      }
      const from = job.next;
      job.next = Math.min(from + job.portion, job.encodedMessages.length);
      job.inWork++;
      this.#waiting -= job.next - from;
      // Behind everybody else who waits.
      if (job.next < job.encodedMessages.length) this.#queue.push(job);
      void this.#run(thread, job, from, job.next);
    }
  }

  async #run(thread: Thread, job: QueuedJob, from: number, to: number): Promise<void> {
    const { key, proof } = job;
    const task = {
      type: "sign",
      handle: key.handle,
      encodedMessages: job.encodedMessages.slice(from, to),
      ...(proof === undefined ? {} : { proof }),
    } as const;
    thread.inWork++;
    try {
      const material = thread.handles.has(key.handle) ? {} : { material: key.material };
      thread.handles.add(key.handle);
      // A thread that was replaced after a crash, or has met many keys since, has forgotten.
      const signed =
        (await thread.piscina.run({ ...task, ...material })) ??
        (await thread.piscina.run({ ...task, material: key.material }));
      if (signed === undefined) throw new HsmError("ERR_INTERNAL", "no result from a thread");
      if ("code" in signed) throw new HsmError(signed.code, signed.message);
      job.results[from] = signed;
      this.#signed += signed.shares.length;
    } catch (error) {
      this.#drop(job, error);
    } finally {
      thread.inWork--;
      job.inWork--;
      this.#dispatch();
    }
    if (job.inWork === 0 && job.next === job.encodedMessages.length) {
      // In the order of the inputs; portions that began elsewhere leave holes.
      const parts = job.results.filter((part) => part !== undefined);
      job.resolve({
        shares: parts.flatMap(({ shares }) => shares),
        proofs: parts.flatMap(({ proofs }) => proofs),
      });
    }
  }

  #drop(job: QueuedJob, error: unknown): void {
    const at = this.#queue.indexOf(job);
    if (at >= 0) this.#queue.splice(at, 1);
    this.#waiting -= job.encodedMessages.length - job.next;
    job.next = job.encodedMessages.length;
    job.reject(error);
  }
}
