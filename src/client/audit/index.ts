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
export type { AuditedEvent, AuditItem, AuditSummary, VerifyProgress } from "./audit.js";
export { readBookmark, writeBookmark, type Bookkeeper } from "./bookmark.js";
export type { Mark, Position } from "./positions.js";
export type { AuditScope } from "./scope.js";
export { replayHistory, verifyHistory, type VerifyOptions } from "./verify.js";
