/** @module One audit in a process of its own, so that its memory is its own too. Prints an `AuditRun`. */
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import { verifyHistory } from "../../src/client/audit/verify.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { auditedKey } from "./audited-key.js";

export interface AuditRunOptions {
  readonly directory: string;
  readonly threads: number;
  readonly recombine: boolean;
}

export interface AuditRun {
  readonly seconds: number;
  /** Resident memory at its most, with all threads. */
  readonly peakBytes: number;
  readonly signaturesValid: number;
  readonly findings: number;
}

const { directory, ...options } = JSON.parse(process.argv[2] ?? "") as AuditRunOptions;
const { cluster } = new HistoryBuilder(auditedKey);
const start = performance.now();
const audit = verifyHistory(exportedHistory(directory), cluster, options);
let step = await audit.next();
while (step.done !== true) step = await audit.next();
const { signaturesValid, findings } = step.value;
const run: AuditRun = {
  seconds: (performance.now() - start) / 1000,
  peakBytes: process.resourceUsage().maxRSS * 1024,
  signaturesValid,
  findings,
};
process.stdout.write(JSON.stringify(run));
