/** @module The audit: what the client's public face and the command line use of it. */
export { severities, type Finding, type FindingCode, type Severity } from "./findings.js";
export { exportedHistory, writeHistory } from "./ndjson.js";
export {
  auditExitCode,
  auditExitCodes,
  auditReport,
  formatFinding,
  formatSummary,
  type AuditReport,
} from "./report.js";
export { liveHistory, type HistorySource } from "./sources.js";
export {
  verifyHistory,
  type AuditSummary,
  type VerifyOptions,
  type VerifyProgress,
} from "./verify.js";
