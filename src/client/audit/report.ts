/**
 * @module What an audit tells: a text for people, an object for programs, an outcome for scripts.
 */
import { oneLine } from "../one-line.js";
import type { Finding } from "./findings.js";
import { keptStreams } from "./sources.js";
import type { AuditSummary } from "./audit-items.js";

/** How an audit ends, as an exit code. */
export const auditExitCodes = {
  /** Everything was checked and nothing found; there may be notes. */
  clean: 0,
  /** The history or cluster.toml cannot be read: it is not known whether anything is wrong. */
  unchecked: 2,
  findings: 3,
} as const;

/** The exit code of an audit that came to its end. */
export function auditExitCode({ findings }: Pick<AuditSummary, "findings">): 0 | 3 {
  return findings === 0 ? auditExitCodes.clean : auditExitCodes.findings;
}

/** One line for a finding, whatever its senders wrote. */
export function formatFinding({ code, severity, stream, seq, text }: Finding): string {
  const what = severity === "note" ? "note" : "FINDING";
  return oneLine(`${what} ${code} ${stream} ${seq.join(",")}: ${text}`);
}

/** The summary for a terminal; lines end with a line feed. */
export function formatSummary(summary: AuditSummary): string {
  const { requests, sessions, keys, results, signaturesValid, signaturesRecombined } = summary;
  const seconds = summary.durationMs / 1000;
  const rate = seconds > 0 ? `, ${Math.round(signaturesValid / seconds)} signatures/s` : "";
  const lines = [
    ...keptStreams.map((stream) => {
      const { messages, last } = summary.streams[stream];
      return `${stream.padEnd(10)} ${messages} messages, to entry ${last}`;
    }),
    `${keys} keys, ${sessions} sessions, ${requests} requests, ${results} results`,
    `${signaturesValid} signatures are valid, ${signaturesRecombined} were made again from their shares`,
    ...summary.chainHeads.map(({ node, n, hash }) => `node ${node}: ${n} messages, newest ${hash}`),
    ...Object.entries(summary.byCode).map(([code, count]) => `${code}: ${count}`),
    ...(summary.inFlight === 0 ? [] : [`${summary.inFlight} checks are left to the next audit`]),
    ...(summary.verifiedBefore === 0
      ? []
      : [`${summary.verifiedBefore} signatures were verified by the audit that left the bookmark`]),
    ...(summary.notVerified === 0 && summary.outOfScope === 0
      ? []
      : [
          `outside of what was asked for: ${summary.notVerified} inputs whose signatures were not verified, ${summary.outOfScope} findings and notes`,
        ]),
    ...(summary.repeats === 0 ? [] : [`${summary.repeats} messages were stored more than once`]),
    `${summary.findings} findings, ${summary.notes} notes in ${seconds.toFixed(1)} s${rate}`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** An audit for programs. Its fields are not renamed within a `version`. */
export interface AuditReport {
  readonly version: 1;
  readonly clean: boolean;
  readonly summary: AuditSummary;
  readonly findings: readonly Finding[];
}

export function auditReport(summary: AuditSummary, findings: readonly Finding[]): AuditReport {
  return { version: 1, clean: summary.findings === 0, summary, findings };
}
