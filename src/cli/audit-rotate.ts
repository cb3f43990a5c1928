/** @module `thsm audit rotate`: verify, export, and let go of what was exported. */
import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import { InvalidArgumentError, type Command } from "commander";
import {
  exportedHistory,
  formatFinding,
  joinedHistory,
  manifestDigest,
  planCuts,
  rotate,
  verifyHistory,
  withOperator,
  writeHistory,
  type Finding,
  type RotationStep,
} from "../client/index.js";
import {
  jobsOf,
  tellVerified,
  whose,
  withArithmetic,
  withHistory,
  withSource,
  type ArithmeticFlags,
  type SourceFlags,
} from "./audit-source.js";
import { operatorConfigOf, print, say, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";
import { connectProvisioner, provisionerConfigOf } from "./provision.js";

interface RotateFlags extends SourceFlags, ArithmeticFlags {
  readonly provisioner?: string;
  readonly operator?: string;
  readonly keep: number;
  readonly keepMessages: number;
  readonly without?: readonly string[];
  readonly acceptFindings?: boolean;
}

const hourMs = 3_600_000;

export function addRotateCommand(program: Command, audit: Command): void {
  withArithmetic(withSource(audit.command("rotate")))
    .description(
      "make room in the streams: verify and export the history, then let go of what is old",
    )
    .argument("<target>", "where to export to; an interrupted rotation goes on with the same one")
    .option("--provisioner <file>", "provisioner.toml (default: that of --dir)")
    .option("--operator <file>", "operator.toml (default: that of --dir, or $THSM_OPERATOR_CONFIG)")
    .option("--keep <hours>", "younger entries stay", parseHours, 24)
    .option("--keep-messages <n>", "so many of the newest stay, however old", parseCount, 1000)
    .option(
      "--without <node...>",
      "nodes that never come back: do not wait for what they have not seen",
    )
    .option(
      "--accept-findings",
      "rotate though the history is not clean; the export keeps what shows it",
    )
    .addHelpText(
      "after",
      `
The operator signs for what is let go, in THSM_AUDIT: entries of which stream, and the digest of the export's manifest.
Nodes go on signing meanwhile. THSM_KEY stays whole. Name the exports of earlier rotations with --with, and keep all of
them: from then on the whole history is \`thsm audit verify --with DIR …\`; without them the audit finds
AUDIT_SEQUENCE_GAP, as it must.

The provisioner's login may not change streams: docs/operations.md, "A full stream", says how to allow it for a moment.

Exit code: 0 done, 3 the history is not clean and nothing was let go, 2 failed.

Example: thsm audit rotate --auditor /etc/thsm/auditor.toml --provisioner /etc/thsm/provisioner.toml \\
           --operator /etc/thsm/operator.toml --with /archive/2026-05 /archive/2026-11`,
    )
    .action(async (target: string, flags: RotateFlags) => {
      const options = program.opts<GlobalOptions>();
      const { dir } = whose(flags);
      const provisionerFile = flags.provisioner ?? provisionerConfigOf(dir);
      const operatorFile = operatorConfigOf(flags.operator, dir);
      await withHistory({ ...flags, with: [] }, async ({ source, cluster }) => {
        const progress = showProgress();
        if (!(await isWhole(target))) {
          await writeHistory(source, target, {
            compress: true,
            onProgress: ({ done, total }) => {
              progress.update(`exported ${Math.floor((100 * done) / Math.max(1, total))} %`);
            },
          });
        }
        // Not the streams are verified, but what will be left of them.
        const exported = exportedHistory(target);
        const whole = joinedHistory([...(flags.with ?? []).map(exportedHistory), exported]);
        const findings: Finding[] = [];
        const run = verifyHistory(whole, cluster, {
          threads: jobsOf(flags.jobs),
          onProgress: tellVerified(progress),
        });
        for await (const finding of run) if (finding.severity === "finding") findings.push(finding);
        for (const finding of findings) say(formatFinding(finding));
        if (findings.length > 0 && flags.acceptFindings !== true) {
          progress.end("the history is NOT clean: nothing was let go");
          process.exitCode = 3;
          return;
        }
        const connection = await connectProvisioner(provisionerFile);
        try {
          const { keep, keepMessages, without = [] } = flags;
          const keepOptions = { keepMs: keep * hourMs, keepMessages, without };
          const cuts = await planCuts(exported, cluster, connection, keepOptions);
          const manifest = await manifestDigest(target);
          const streams: Omit<Extract<RotationStep, { type: "let-go" }>, "type">[] = [];
          let recorded: number | undefined;
          await withOperator(operatorFile, async (operator) => {
            progress.update("letting go");
            for await (const step of rotate(cuts, manifest, operator, connection)) {
              if (step.type === "recorded") recorded = step.seq;
              if (step.type !== "let-go") continue;
              const { type: _, ...stream } = step;
              streams.push(stream);
            }
          });
          progress.end(`rotated into ${target}`);
          const text = streams.map(
            ({ stream, first, dropped, heldBy }) =>
              `${stream}: ${dropped} entries let go, begins at ${first} now (held by ${heldBy})`,
          );
          if (recorded !== undefined) text.push(`on record as entry ${recorded} of THSM_AUDIT`);
          print(options, { target: resolve(target), manifest, recorded, streams }, text.join("\n"));
        } finally {
          await connection.close();
        }
      });
    });
}

async function isWhole(directory: string): Promise<boolean> {
  try {
    await access(join(directory, "manifest.json"));
    return true;
  } catch {
    return false;
  }
}

function parseHours(text: string): number {
  const hours = Number(text);
  if (/^\d{1,6}(?:\.\d{1,4})?$/.test(text)) return hours;
  throw new InvalidArgumentError("expected hours, like 24 or 0.5");
}

function parseCount(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a number");
}
