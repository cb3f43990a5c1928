/** @module The audit: what the client's public face and the command line use of it. */
export { parseNote, type Note } from "../../checkpoint/note.js";
export { signedByCluster } from "./cluster-checkpoint.js";
export { witnessedCheckpoint } from "./witnessed.js";
export {
  checkProof,
  proveConsistency,
  proveInclusion,
  readProof,
  type Proof,
  type ProofVerdict,
} from "./proofs.js";
export { adviceFor, type Advice } from "./advice.js";
export { severities, type Finding, type FindingCode, type Severity } from "./findings.js";
export {
  explainSignings,
  type Explanation,
  type NodePart,
  type SigningStory,
  type Step,
} from "./explain.js";
export {
  importHistory,
  manifestDigest,
  writeHistory,
  type ExportOptions,
  type Manifest,
} from "./export.js";
export { exportedHistory } from "./ndjson.js";
export { publishHistory, type PublishOptions } from "./publish-history.js";
export {
  auditExitCode,
  auditExitCodes,
  auditReport,
  formatFinding,
  formatSummary,
  type AuditReport,
} from "./report.js";
export { keptStreams, liveHistory, type HistorySource } from "./sources.js";
export { hourMs, Statistics } from "./statistics.js";
export type { KeyStatistics, NodeStatistics } from "./statistics-records.js";
export type { AuditedEvent, AuditItem, AuditSummary, VerifyProgress } from "./audit-items.js";
export { readBookmark, writeBookmark, type Bookkeeper } from "./bookmark.js";
export type { Mark, Position } from "./positions.js";
export { parseQuestion, questionsOfZone, type Question } from "./question.js";
export { formatStory } from "./story-text.js";
export type { AuditScope } from "./scope.js";
export { replayHistory, verifyHistory, type VerifyOptions } from "./verify.js";
export {
  formatSigningLine,
  listSignings,
  type ListFilter,
  type ListItem,
  type SigningLine,
} from "./list.js";
export {
  auditZone,
  formatZoneReport,
  type ZoneFinding,
  type ZoneKeyReport,
  type ZoneReport,
} from "./zone.js";
export { joinedHistory } from "./joined.js";
export { planCuts, type Cut, type KeepOptions } from "./cuts.js";
export { rotate, type RotationStep } from "./rotate.js";
export { formatTailLine, type TailLine } from "./tail-line.js";
export { tailHistory, type TailFilter, type TailOptions } from "./tail.js";
