/** @module One audit in a process of its own, so that its memory is its own too. Prints an `AuditRun`. */
import type { AuditSummary } from "../../src/client/audit/audit-items.js";
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import type { Mark } from "../../src/client/audit/positions.js";
import { verifyHistory } from "../../src/client/audit/verify.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { auditedKey } from "./audited-key.js";

export interface AuditRunOptions {
  readonly directory: string;
  readonly threads: number;
  readonly recombine: boolean;
  /** To be measured is an audit that goes on from the bookmark of another one. */
  readonly isAgain?: boolean;
}

export interface AuditRun {
  readonly seconds: number;
  /** Resident memory at its most, with all threads. */
  readonly peakBytes: number;
  readonly signaturesValid: number;
  readonly findings: number;
}

const {
  directory,
  isAgain = false,
  ...options
} = JSON.parse(process.argv[2] ?? "") as AuditRunOptions;
const { cluster } = new HistoryBuilder(auditedKey);

let bookmark: Mark | undefined;
if (isAgain) await audit();
const start = performance.now();
const { signaturesValid, findings } = await audit();
const run: AuditRun = {
  seconds: (performance.now() - start) / 1000,
  peakBytes: process.resourceUsage().maxRSS * 1024,
  signaturesValid,
  findings,
};
process.stdout.write(JSON.stringify(run));

async function audit(): Promise<AuditSummary> {
  const steps = verifyHistory(exportedHistory(directory), cluster, {
    ...options,
    ...(bookmark === undefined ? {} : { bookmark }),
    ...(isAgain ? { onMark: (mark: Mark) => (bookmark = mark) } : {}),
  });
  let step = await steps.next();
  while (step.done !== true) step = await steps.next();
  return step.value;
}
