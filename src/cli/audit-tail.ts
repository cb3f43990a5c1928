/** @module `thsm audit tail`: what is stored, while it is. */
import type { Command } from "commander";
import { formatTailLine, openLive, tailHistory } from "../client/index.js";
import { HsmError } from "../errors.js";
import { whose } from "./audit-source.js";
import { print, say, type GlobalOptions } from "./context.js";

interface TailFlags {
  readonly auditor?: string;
  readonly dir?: string;
  readonly session?: string;
  readonly key?: string;
  readonly client?: string;
  readonly node?: string;
  readonly failures?: boolean;
  readonly last: string;
}

export function addTailCommand(program: Command, audit: Command): void {
  audit
    .command("tail")
    .description("requests, answers, results, refusals, key and session events as they are stored")
    .option("--auditor <file>", "auditor.toml (default: $THSM_AUDITOR_CONFIG)")
    .option("--dir <dir>", "a development cluster's directory")
    .option("--last <n>", "begin with the newest n messages that are stored already", "10")
    .option("--session <id>", "only of this session")
    .option("--key <id>", "only of this key")
    .option("--client <name>", "only what this client says, or is answered")
    .option("--node <name>", "only what this node says, is asked, or is blamed for")
    .option("--failures", "only what went wrong")
    .addHelpText(
      "after",
      `
Each message's signature is verified; what nobody answers for is shown as JUNK, with the reason, whatever the filter.
Filters apply to the --last messages too. Messages are checked one by one: how they fit together, and
whether a signature is right, says thsm audit verify. With --json each line is one object.

Goes on when NATS was away. Ends on Ctrl-C.
Exit code: 0 ended by Ctrl-C, 2 NATS cannot be reached at the start.

Examples:
  thsm audit tail --failures
  thsm audit tail --last 0 --client knot --json | jq -r 'select(.type == "result") | .rid'`,
    )
    .action(async (flags: TailFlags) => {
      const options = program.opts<GlobalOptions>();
      const { auditor: _auditor, dir: _dir, last, ...filter } = flags;
      const count = countOf(last);
      const ending = new AbortController();
      const end = (): void => ending.abort();
      const { connection, cluster } = await openLive(whose(flags).configFile);
      // A read under way does not wait for a server that is away.
      ending.signal.addEventListener("abort", () => void connection.close());
      process.once("SIGINT", end).once("SIGTERM", end);
      // `… | head` has read enough.
      process.stdout.once("error", end);
      try {
        const { signal } = ending;
        const lines = tailHistory(connection, cluster, {
          ...filter,
          last: count,
          signal,
          onSilence: saySilence,
        });
        for await (const line of lines) print(options, line, formatTailLine(line));
      } finally {
        await connection.close();
      }
    });
}

function saySilence({ message }: HsmError): void {
  say(`${message}; waiting for it`);
}

function countOf(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count <= 100_000) return count;
  throw new HsmError("ERR_INVALID_ARGUMENT", `--last takes a number up to 100000, not ${text}`);
}
