/** @module `thsm audit …`: the recorded history, replayed and verified. */
import type { Command } from "commander";
import {
  auditExitCode,
  auditReport,
  formatFinding,
  formatSummary,
  oneLine,
  readEvidence,
  verifyHistory,
  weigh,
  type Finding,
} from "../client/index.js";
import { HsmError } from "../errors.js";
import { addCheckpointCommand, readCheckpoints } from "./audit-checkpoint.js";
import { addExplainCommand } from "./audit-explain.js";
import { addExportCommands } from "./audit-export.js";
import { addListCommand } from "./audit-list.js";
import { addProofCommands } from "./audit-prove.js";
import { addTailCommand } from "./audit-tail.js";
import { addZoneCommand } from "./audit-zone.js";
import { addRotateCommand } from "./audit-rotate.js";
import { addReportCommand } from "./audit-report.js";
import {
  clusterOf,
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

interface VerifyFlags extends SourceFlags, ScopeFlags, RecombineFlags {
  readonly notes?: boolean;
  readonly bookmark?: string;
  readonly checkpoint?: string;
}

export function addAuditCommands(program: Command): void {
  const audit = program
    .command("audit")
    .description("replay the streams and verify what was asked, answered and signed");

  withRecombination(withScope(withSource(audit.command("verify"))))
    .description("check every message, chain and signature; say what does not fit")
    .option("--notes", "also show what is unusual but no finding")
    .option("--checkpoint <file>", "a checkpoint kept elsewhere: all that it is over must be there")
    .option("--bookmark <file>", "go on from the last audit's bookmark, and leave one for the next")
    .addHelpText(
      "after",
      `
The bookmark is signed with the auditor's identity key. The history must begin with what the last audit saw;
what that one verified is not verified again, so that a daily audit costs what the day brought.

Every message is read, and checked against the others, whatever is asked for: --since, --until, --session
and --key narrow which signatures are verified and which findings are told.

Exit code: 0 clean, 3 something was found, 2 the history could not be read.

Example: thsm audit verify --auditor /etc/thsm/auditor.toml --since 2026-03-01T00:00:00Z`,
    )
    .action(async (flags: VerifyFlags) => {
      const options = program.opts<GlobalOptions>();
      const scope = scopeOf(flags);
      if (flags.bookmark !== undefined && Object.keys(scope).length > 0) {
        throw new HsmError(
          "ERR_INVALID_ARGUMENT",
          "--bookmark is for whole audits: leave out --since, --until, --session and --key",
        );
      }
      const checkpoints = await readCheckpoints(flags.checkpoint);
      const threads = jobsOf(flags.jobs);
      await withHistory(flags, async (history) => {
        const progress = showProgress();
        const findings: Finding[] = [];
        const bookmark =
          flags.bookmark === undefined ? undefined : await history.bookmark(flags.bookmark);
        const run = verifyHistory(history.source, history.cluster, {
          ...(bookmark?.mark === undefined ? {} : { bookmark: bookmark.mark }),
          ...(bookmark === undefined ? {} : { onMark: bookmark.remember }),
          recombine: flags.recombine,
          scope,
          checkpoints,
          threads,
          onProgress: tellVerified(progress),
        });
        let step = await run.next();
        while (step.done !== true) {
          const finding = step.value;
          if (options.json === true) findings.push(finding);
          else if (finding.severity === "finding" || flags.notes === true) {
            process.stdout.write(`${formatFinding(finding)}\n`);
          }
          step = await run.next();
        }
        const summary = step.value;
        // What was rolled back must show again tomorrow.
        if (summary.byCode.AUDIT_ROLLED_BACK === undefined) await bookmark?.save();
        progress.end(summary.findings === 0 ? "the history is clean" : "the history is NOT clean");
        print(options, auditReport(summary, findings), formatSummary(summary).trimEnd());
        process.exitCode = auditExitCode(summary);
      });
    });

  audit
    .command("evidence")
    .description("check what a misbehaviour event, or its messages alone, prove against a node")
    .argument(
      "<file>",
      "the event's payload: nats stream get THSM_AUDIT N; thsm status says which N",
    )
    .option("--cluster <file>", "cluster.toml (default: beside $THSM_AUDITOR_CONFIG)")
    .addHelpText(
      "after",
      `
Needs nothing but the file and cluster.toml, no cluster that runs:
  thsm audit evidence --cluster /etc/thsm/cluster.toml n2.json
Exit code: 0 the node is proven guilty, 3 it is not, 2 the file could not be read.`,
    )
    .action(async (file: string, flags: { cluster?: string }) => {
      const cluster = await clusterOf(flags.cluster);
      const { node, messages } = await readEvidence(file);
      const weighed = weigh(cluster, node, messages);
      const verdict = weighed.guilt === undefined ? "NOT PROVEN" : `PROVEN, ${weighed.guilt}`;
      const looked = weighed.messages.map(({ hash, stream, by, time = "" }) =>
        `  ${hash} ${stream} by ${by} ${time}`.trimEnd(),
      );
      const text = [`${verdict}: ${weighed.text}`, ...looked].map(oneLine).join("\n");
      print(program.opts<GlobalOptions>(), { version: 1, ...weighed }, text);
      process.exitCode = weighed.guilt === undefined ? 3 : 0;
    });

  addCheckpointCommand(program, audit);
  addExportCommands(program, audit);
  addProofCommands(program, audit);
  addRotateCommand(program, audit);
  addExplainCommand(program, audit);
  addZoneCommand(program, audit);
  addListCommand(program, audit);
  addTailCommand(program, audit);
  addReportCommand(program, audit);
}
