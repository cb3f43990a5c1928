/** @module `thsm audit report`: an audit for people who would rather look. */
import { rename, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { auditExitCode, auditReport } from "../client/index.js";
import { HsmError } from "../errors.js";
import {
  jobsOf,
  scopeOf,
  tellVerified,
  withHistory,
  withRecombination,
  withScope,
  withSource,
  type RecombineFlags,
  type ScopeFlags,
  type SourceFlags,
} from "./audit-source.js";
import { print, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";
import { collectReport } from "./report/collect.js";
import { renderPage } from "./report/page.js";

interface ReportFlags extends SourceFlags, ScopeFlags, RecombineFlags {
  readonly html?: string;
}

export function addReportCommand(program: Command, audit: Command): void {
  withRecombination(withScope(withSource(audit.command("report"))))
    .description(
      "the history as one page: verdict, findings, figures by hour, node, key and program",
    )
    .option("--html <file>", "where to write the page; it needs no network and prints well")
    .addHelpText(
      "after",
      `
Verifies all that thsm audit verify does, and writes the page whatever it finds. With --json the same figures
are printed as one object; --html may then be left out.

Exit code: 0 clean, 3 something was found, 2 the history could not be read or the page not written.

Examples:
  thsm audit report --auditor /etc/thsm/auditor.toml --html report.html
  thsm audit report --html march.html --since 2026-03-01T00:00:00Z --until 2026-04-01T00:00:00Z`,
    )
    .action(async (flags: ReportFlags) => {
      const options = program.opts<GlobalOptions>();
      if (flags.html === undefined && options.json !== true) {
        throw new HsmError("ERR_INVALID_ARGUMENT", "say where to: --html report.html, or --json");
      }
      const scope = scopeOf(flags);
      await withHistory(flags, async ({ source, cluster }) => {
        const progress = showProgress();
        const report = await collectReport(source, cluster, {
          recombine: flags.recombine,
          scope,
          asked: describeScope(flags),
          threads: jobsOf(flags.jobs),
          onProgress: tellVerified(progress),
        });
        const { summary, statistics, findings } = report;
        if (flags.html !== undefined) await writeWhole(flags.html, renderPage(report));
        progress.end(summary.findings === 0 ? "the history is clean" : "the history is NOT clean");
        const text = `wrote ${flags.html}: ${summary.findings} findings, ${summary.notes} notes`;
        print(options, { ...auditReport(summary, findings), statistics }, text);
        process.exitCode = auditExitCode(summary);
      });
    });
}

function describeScope({ since, until, session, key }: ScopeFlags): string[] {
  const flags = { since, until, session, key };
  return Object.entries(flags).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name} ${value}`],
  );
}

/** A reader never sees half a page. */
async function writeWhole(file: string, text: string): Promise<void> {
  const part = `${resolve(file)}.${process.pid}.part`;
  try {
    await writeFile(part, text);
    await rename(part, resolve(file));
  } catch (cause) {
    await rm(part, { force: true });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot write ${file}: ${why}`, { cause });
  }
}
