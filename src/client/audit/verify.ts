/**
 * @module The audit: one pass over a recorded history, every message checked by itself and against the
 * others. First THSM_KEY, which says what keys there are; then requests, shares and results side by side.
 *
 * The way of an entry: sources → merge → admit.open → (signature) → Audit.see → … → (arithmetic) →
 * Audit.conclude. What stands in brackets may run on other threads, several batches at a time.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { open, type Opened } from "./admit.js";
import { openArithmetic, type Arithmetic } from "./arithmetic.js";
import { Audit } from "./audit.js";
import type { AuditOptions } from "./audit-options.js";
import type { AuditItem, AuditSummary, VerifyProgress } from "./audit-items.js";
import type { Finding } from "./findings.js";
import { merge, type StreamEntry } from "./merge.js";
import type { Verdict } from "./recombine.js";
import type { SigningJob } from "./signing-job.js";
import type { Signing } from "./signing.js";
import type { HistorySource } from "./sources.js";

export interface VerifyOptions extends AuditOptions {
  /** Threads that do the arithmetic. Default 1: all on the caller's. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Called now and then with the entries that were read, and how many there are. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

const entriesPerBatch = 128;
const inputsPerBatch = 32;

/**
 * Verifies a history; yields what it finds, and returns the summary.
 * @throws HsmError `ERR_ABORTED`, and what the source throws when it cannot be read: the history is
 * then neither clean nor not
 */
export async function* verifyHistory(
  source: HistorySource,
  cluster: Cluster,
  options: VerifyOptions = {},
): AsyncGenerator<Finding, AuditSummary, undefined> {
  const items = replayHistory(source, cluster, { ...options, events: false, signings: false });
  for (;;) {
    const step = await items.next();
    if (step.done === true) return step.value;
    if (step.value.type === "finding") yield step.value.finding;
  }
}

/**
 * Verifies a history like `verifyHistory`, and yields beside the findings what `options` asks for: each
 * message that its sender answers for, and each signing with its requests, answers, end and verdict.
 * Within a stream messages come in order; a finding comes after the message that shows it.
 */
export async function* replayHistory(
  source: HistorySource,
  cluster: Cluster,
  options: VerifyOptions = {},
): AsyncGenerator<AuditItem, AuditSummary, undefined> {
  const audit = new Audit(cluster, await source.bounds(), options);
  const arithmetic = openArithmetic(cluster, options.threads ?? 1);
  const run = new Run(audit, arithmetic);
  try {
    for (const streams of [["THSM_KEY"], ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT"]] as const) {
      for await (const batch of inBatches(merge(source, streams))) {
        if (options.signal?.aborted === true) {
          throw new HsmError("ERR_ABORTED", "the audit was stopped");
        }
        await run.take(batch.map(({ stream, entry }) => open(cluster, stream, entry)));
        options.onProgress?.(audit.progress);
        yield* audit.takeItems();
      }
      await run.drain();
    }
    audit.finish();
    await run.drain();
    audit.close();
    yield* audit.takeItems();
    options.onProgress?.(audit.progress);
    const mark = audit.mark();
    if (mark !== undefined) options.onMark?.(mark);
    return audit.summary();
  } finally {
    await arithmetic.close();
  }
}

/** Batches on their way through the arithmetic: first in, first out. */
class Run {
  readonly #audit: Audit;
  readonly #arithmetic: Arithmetic;
  readonly #opened: {
    readonly batch: readonly Opened[];
    /** Whose signatures an earlier audit verified. */
    readonly known: readonly boolean[];
    readonly signed: boolean[] | Promise<boolean[]>;
  }[] = [];
  readonly #judged: {
    readonly signings: readonly Signing[];
    readonly verdicts: Verdict[] | Promise<Verdict[]>;
  }[] = [];
  #signings: Signing[] = [];
  #jobs: SigningJob[] = [];
  #inputs = 0;

  constructor(audit: Audit, arithmetic: Arithmetic) {
    this.#audit = audit;
    this.#arithmetic = arithmetic;
  }

  async take(batch: readonly Opened[]): Promise<void> {
    const known = batch.map((opened) => this.#audit.takeKnown(opened));
    const signed = this.#arithmetic.verify(
      batch.map(({ claim }, index) => (known[index] === true ? undefined : claim)),
    );
    this.#opened.push({ batch, known, signed: handled(signed) });
    while (this.#opened.length > this.#arithmetic.batchesAhead) await this.#see();
  }

  /** Until nothing is under way any more. */
  async drain(): Promise<void> {
    while (this.#opened.length > 0) await this.#see();
    this.#collect();
    this.#send();
    while (this.#judged.length > 0) await this.#conclude();
  }

  async #see(): Promise<void> {
    const next = this.#opened.shift();
    if (next === undefined) return;
    const signed = await next.signed;
    for (const [index, opened] of next.batch.entries()) {
      this.#audit.see(opened, signed[index] === true || next.known[index] === true);
    }
    this.#collect();
    while (this.#judged.length > this.#arithmetic.judgingAhead) await this.#conclude();
  }

  #collect(): void {
    for (const signing of this.#audit.takeSettled()) {
      const job = this.#audit.jobOf(signing);
      if (job === undefined) {
        this.#audit.conclude(signing, undefined);
        continue;
      }
      this.#signings.push(signing);
      this.#jobs.push(job);
      this.#inputs += job.terms.inputs.length;
      if (this.#inputs >= inputsPerBatch) this.#send();
    }
  }

  #send(): void {
    if (this.#jobs.length === 0) return;
    const verdicts = handled(this.#arithmetic.judge(this.#jobs));
    this.#judged.push({ signings: this.#signings, verdicts });
    this.#signings = [];
    this.#jobs = [];
    this.#inputs = 0;
  }

  async #conclude(): Promise<void> {
    const next = this.#judged.shift();
    if (next === undefined) return;
    const verdicts = await next.verdicts;
    for (const [index, signing] of next.signings.entries()) {
      this.#audit.conclude(signing, verdicts[index]);
    }
  }
}

/** It is awaited in its turn; until then a failure must not count as unhandled. */
function handled<T>(value: T | Promise<T>): T | Promise<T> {
  if (value instanceof Promise) value.catch(() => undefined);
  return value;
}

async function* inBatches(entries: AsyncIterable<StreamEntry>): AsyncGenerator<StreamEntry[]> {
  let batch: StreamEntry[] = [];
  for await (const entry of entries) {
    batch.push(entry);
    if (batch.length < entriesPerBatch) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
