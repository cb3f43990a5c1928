/**
 * @module Where the arithmetic of an audit is done: on this thread, or on others. Everything else of an
 * audit is bookkeeping in the order of the streams, on one thread.
 */
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { Cluster } from "../../identity/cluster.js";
import type { GroupKey } from "../../scheme/index.js";
import type { SignatureClaim } from "../../streams/envelope.js";
import type { ArithmeticTask } from "./arithmetic-worker.js";
import { packClaims } from "./claims.js";
import { judgeAll, type Verdict } from "./recombine.js";
import type { SigningJob } from "./signing-job.js";

export interface Arithmetic {
  /** Batches of messages that may be under way before the first is waited for. */
  readonly batchesAhead: number;
  /** Tasks of judging likewise. A batch of messages makes many, or a part of one. */
  readonly judgingAhead: number;
  /** Whether each claim is true; no claim is not. */
  verify(claims: readonly (SignatureClaim | undefined)[]): boolean[] | Promise<boolean[]>;
  judge(jobs: readonly SigningJob[]): Verdict[] | Promise<Verdict[]>;
  close(): Promise<void>;
}

/** On `threads` others beside this one; with one or less, on this one. */
export function openArithmetic(cluster: Cluster, threads: number): Arithmetic {
  return threads <= 1 ? ownThread : new Threads(cluster, threads);
}

const ownThread: Arithmetic = {
  batchesAhead: 0,
  judgingAhead: 0,
  verify: (claims) =>
    claims.map((claim) => claim?.member.identity.verify(claim.signed, claim.signature) === true),
  judge: (jobs) => judgeAll(jobs),
  close: () => Promise.resolve(),
};

class Threads implements Arithmetic {
  readonly batchesAhead: number;
  readonly judgingAhead: number;
  readonly #cluster: Cluster;
  readonly #identities: readonly string[];
  readonly #piscina: Piscina<ArithmeticTask, boolean[] | Verdict[]>;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(cluster: Cluster, threads: number) {
    this.batchesAhead = 3 * threads;
    // No thread may be without work while this one reads the next batch.
    this.judgingAhead = 16 * threads;
    this.#cluster = cluster;
    this.#identities = cluster.members.map(({ identity }) => identity.text);
    this.#piscina = new Piscina<ArithmeticTask, boolean[] | Verdict[]>({
      filename: fileURLToPath(new URL("arithmetic-worker.js", import.meta.url)),
      name: "runTask",
      minThreads: threads,
      maxThreads: threads,
      // One in work and one so that no thread waits for us.
      concurrentTasksPerWorker: 2,
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
  }

  async verify(claims: readonly (SignatureClaim | undefined)[]): Promise<boolean[]> {
    const packed = packClaims(this.#cluster.members, claims);
    const task: ArithmeticTask = { type: "verify", identities: this.#identities, packed };
    const verified = (await this.#run(task, [packed.buffer])).values();
    return claims.map((claim) => claim !== undefined && verified.next().value === true);
  }

  async judge(jobs: readonly SigningJob[]): Promise<Verdict[]> {
    const groups = new Map<string, GroupKey>();
    // Only what is looked at goes over.
    const plain = jobs.map(({ group, terms, answers, result, recombine }) => {
      groups.set(terms.key, group);
      return {
        terms,
        answers: answers.map(({ party, shares, proofs }) => ({
          party,
          shares,
          ...(proofs === undefined ? {} : { proofs }),
        })),
        ...(result === undefined
          ? {}
          : { result: { quorum: result.quorum, signatures: result.signatures } }),
        recombine,
      };
    });
    const verdicts = await this.#run({ type: "judge", groups, jobs: plain });
    return verdicts.filter((verdict) => typeof verdict !== "boolean");
  }

  async close(): Promise<void> {
    // An answer that comes after the pool's end is an error there, which nobody handles.
    await Promise.allSettled(this.#underWay);
    await this.#piscina.destroy();
  }

  async #run(task: ArithmeticTask, transferList?: ArrayBuffer[]): Promise<boolean[] | Verdict[]> {
    const running = this.#piscina.run(task, transferList === undefined ? {} : { transferList });
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }
}
