/**
 * @module One audit in a process of its own, so that its memory and processor time are its own too. Prints an
 * `AuditRun`. With --expose-gc what is sampled is what is left after a collection.
 */
import type { AuditSummary } from "../../src/client/audit/audit-items.js";
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import type { Mark } from "../../src/client/audit/positions.js";
import { verifyHistory } from "../../src/client/audit/verify.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { auditedKey } from "./audited-key.js";
import { processorMs } from "./measure.js";

export interface AuditRunOptions {
  readonly directory: string;
  readonly threads: number;
  readonly recombine: boolean;
  /** To be measured is an audit that goes on from the bookmark of another one. */
  readonly isAgain?: boolean;
  /** How often memory is looked at, evenly. */
  readonly samples?: number;
}

/** Memory after a part of the history. */
export interface Sample {
  /** 0 to 1. */
  readonly part: number;
  readonly residentBytes: number;
  /** What the main thread keeps: objects, and buffers beside the heap. */
  readonly usedBytes: number;
}

export interface AuditRun {
  readonly seconds: number;
  /** Processor time of all threads, and of the main one. */
  readonly processorSeconds: number;
  readonly mainThreadSeconds: number;
  /** Resident memory at its most, with all threads. */
  readonly peakBytes: number;
  readonly samples: readonly Sample[];
  readonly signaturesValid: number;
  readonly findings: number;
}

const {
  directory,
  isAgain = false,
  samples: wanted = 0,
  ...options
} = JSON.parse(process.argv[2] ?? "") as AuditRunOptions;
const { cluster } = new HistoryBuilder(auditedKey);
const samples: Sample[] = [];

let bookmark: Mark | undefined;
if (isAgain) await audit();
samples.length = 0;
const start = performance.now();
const [allBefore, mainBefore] = await processorSeconds();
const { signaturesValid, findings } = await audit();
const [allAfter, mainAfter] = await processorSeconds();
const run: AuditRun = {
  seconds: (performance.now() - start) / 1000,
  processorSeconds: allAfter - allBefore,
  mainThreadSeconds: mainAfter - mainBefore,
  peakBytes: process.resourceUsage().maxRSS * 1024,
  samples,
  signaturesValid,
  findings,
};
process.stdout.write(JSON.stringify(run));

async function audit(): Promise<AuditSummary> {
  const steps = verifyHistory(exportedHistory(directory), cluster, {
    ...options,
    onProgress: ({ done, total }) => sample(done / total),
    ...(bookmark === undefined ? {} : { bookmark }),
    ...(isAgain ? { onMark: (mark: Mark) => (bookmark = mark) } : {}),
  });
  let step = await steps.next();
  while (step.done !== true) step = await steps.next();
  return step.value;
}

function sample(part: number): void {
  if (samples.length >= Math.floor(part * wanted)) return;
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  samples.push({ part, residentBytes: rss, usedBytes: heapUsed + external });
}

async function processorSeconds(): Promise<[all: number, main: number]> {
  const { pid } = process;
  return [(await processorMs(pid)) / 1000, (await processorMs(pid, pid)) / 1000];
}
