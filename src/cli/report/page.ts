/**
 * @module A report as one HTML page: nothing is loaded, no script runs, and what comes from the history is text.
 * First the verdict, then what is wrong, then what happened, and last what was looked at.
 */
import { createHash } from "node:crypto";
import type { AuditSummary, Finding, Statistics } from "../../client/index.js";
import { counted, minute } from "./format.js";
import { foreign, Html, markup } from "./markup.js";
import { findingsSection, verdict } from "./findings.js";
import { keysSection, latencySection, nodesSection, tiles, usersSection } from "./activity.js";
import { streamsSection, troubleSection, verifiedSection } from "./record.js";
import { style } from "./style.js";

export interface Report {
  readonly cluster: string;
  readonly madeAt: Date;
  /** What was asked for, as a person wrote it: "--since 2026-03-01". */
  readonly scope: readonly string[];
  readonly isRecombined: boolean;
  readonly summary: AuditSummary;
  readonly statistics: Statistics;
  /** The first ones; `summary` counts them all. */
  readonly findings: readonly Finding[];
}

export function renderPage(report: Report): string {
  const { cluster, madeAt, scope, summary } = report;
  const hash = createHash("sha256").update(style).digest("base64");
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const asked =
    scope.length === 0
      ? markup`the whole history`
      : markup`of the history only ${scope.map((one) => markup`<code>${one}</code> `)}`;
  return String(markup`<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${summary.findings === 0 ? "Clean" : counted(summary.findings, "finding")} – audit of ${cluster}</title>
<style>${Html.constant(style)}</style>
</head>
<body>
<header>
<h1>Audit of ${foreign(cluster)}</h1>
<p class="quiet">Made on ${minute(madeAt.toISOString())} from ${asked}. All times are UTC.</p>
</header>
<main>
${verdict(report)}
${tiles(report)}
${findingsSection(report)}
${latencySection(report)}
${nodesSection(report)}
${troubleSection(report)}
${keysSection(report)}
${usersSection(report)}
${streamsSection(report)}
${verifiedSection(report)}
</main>
<footer><p class="quiet">This page says what one audit saw; it proves nothing by itself.
Repeat it with <code>thsm audit verify</code>; docs/audit.md tells how to verify without our code.</p></footer>
</body>
</html>
`);
}
