/** @module `thsm audit list`: every signing, one a line. */
import type { Command } from "commander";
import { formatFinding, formatSigningLine, listSignings } from "../client/index.js";
import {
  jobsOf,
  scopeOf,
  withArithmetic,
  withHistory,
  withScope,
  withSource,
  type ArithmeticFlags,
  type ScopeFlags,
  type SourceFlags,
} from "./audit-source.js";
import { print, say, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";

export interface FilterFlags extends ScopeFlags {
  readonly client?: string;
  readonly node?: string;
  readonly failures?: boolean;
}

/** Something is wrong with the history that was listed. */
const found = 3;

/** Flags that choose signings. */
export function withFilter(command: Command): Command {
  return withScope(command)
    .option("--client <name>", "only what this client asked for")
    .option("--node <name>", "only what this node was asked for")
    .option("--failures", "only what went wrong");
}

export function addListCommand(program: Command, audit: Command): void {
  withArithmetic(withFilter(withSource(audit.command("list"))))
    .description("every signing, one a line: when, who, which key, which nodes, how it ended")
    .addHelpText(
      "after",
      `
Messages and signatures are verified while they are listed; what does not hold is told on stderr. With --json each
line is one object.

Exit code: 0 nothing wrong, 3 something is, 2 the history could not be read.

Examples:
  thsm audit list --since 2026-03-01T00:00:00Z --key 0123456789abcdef0123456789abcdef
  thsm audit list --failures --client knot
  thsm audit list --json | jq -r 'select(.elapsedMs > 500) | .rid'`,
    )
    .action(async (flags: SourceFlags & FilterFlags & ArithmeticFlags) => {
      const options = program.opts<GlobalOptions>();
      const { client, node, failures } = flags;
      const filter = {
        ...(client === undefined ? {} : { client }),
        ...(node === undefined ? {} : { node }),
        ...(failures === undefined ? {} : { failures }),
      };
      const scope = scopeOf(flags);
      await withHistory(flags, async ({ source, cluster }) => {
        const progress = showProgress();
        let lines = 0;
        let findings = 0;
        const items = listSignings(source, cluster, {
          ...filter,
          scope,
          recombine: false,
          threads: jobsOf(flags.jobs),
        });
        for await (const item of items) {
          if (item.type === "signing") {
            lines++;
            print(options, item.line, formatSigningLine(item.line));
          } else if (item.finding.severity === "finding") {
            findings++;
            say(formatFinding(item.finding));
          }
        }
        progress.end(`${lines} signings, ${findings} findings`);
        if (findings > 0) process.exitCode = found;
      });
    });
}
