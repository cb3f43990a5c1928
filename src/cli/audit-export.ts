/** @module `thsm audit export`, `import`, `replay`: a history on its way out of the streams and back. */
import { resolve } from "node:path";
import type { Command } from "commander";
import {
  connectScratch,
  exportedHistory,
  importHistory,
  publishHistory,
  writeHistory,
} from "../client/index.js";
import { withHistory, withSource, type SourceFlags } from "./audit-source.js";
import { print, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";

export function addExportCommands(program: Command, audit: Command): void {
  withSource(audit.command("export"))
    .description("write the history to a directory, one JSON object a line, to verify it elsewhere")
    .argument("<target>", "a directory that is absent or empty, or one that was interrupted")
    .option("--compress", "pack the files with gzip")
    .addHelpText(
      "after",
      `
The same history gives the same bytes. Interrupted, the same command goes on where it was. manifest.json is written
last: with it an export is whole.

Example: thsm audit export --compress /archive/2026-11-22
         thsm audit verify --offline /archive/2026-11-22`,
    )
    .action(async (target: string, flags: SourceFlags & { compress?: boolean }) => {
      await withHistory(flags, async ({ source }) => {
        const progress = showProgress();
        await writeHistory(source, target, {
          compress: flags.compress === true,
          onProgress: inSteps(({ done, total }) => {
            progress.update(`wrote ${done} of ${total} messages`);
          }),
        });
        progress.end("exported");
        print(program.opts<GlobalOptions>(), { target: resolve(target) }, `exported to ${target}`);
      });
    });

  audit
    .command("import")
    .description(
      "put an export back, unpacked, after a look whether it is whole and as it was written",
    )
    .argument("<export>", "a directory that `thsm audit export` wrote")
    .argument("<target>", "a directory that is absent or empty")
    .addHelpText(
      "after",
      `
The manifest shows copying mistakes. That nobody changed the history only \`verify\` shows.

Example: thsm audit import /archive/2026-11-22 /tmp/history
         thsm audit verify --offline /tmp/history`,
    )
    .action(async (directory: string, target: string) => {
      const streams = await importHistory(directory, target);
      const entries = Object.values(streams).reduce((sum, one) => sum + one.entries, 0);
      const value = { target: resolve(target), streams };
      print(program.opts<GlobalOptions>(), value, `${entries} entries imported to ${target}`);
    });

  audit
    .command("replay")
    .description("publish an exported history to a scratch nats-server, to study it there")
    .argument("<export>", "a directory that `thsm audit export` wrote")
    .requiredOption("--into <url>", "the server, with JetStream and without logins")
    .option("--force", "delete the streams that the server has")
    .addHelpText(
      "after",
      `
Order, subjects, payloads, signatures and sequence numbers are the recorded ones; the server's times are new, and
the streams have no limits. Never a server that signs: its logins may not make streams.

Example: nats-server -js -sd /tmp/scratch -p 4333 &
         thsm audit replay /archive/2026-11-22 --into nats://127.0.0.1:4333
         thsm audit verify --server nats://127.0.0.1:4333
         nats -s nats://127.0.0.1:4333 stream view THSM_REQ`,
    )
    .action(async (directory: string, { into, force }: { into: string; force?: boolean }) => {
      const connection = await connectScratch(into);
      try {
        const progress = showProgress();
        await publishHistory(exportedHistory(directory), connection, {
          force: force === true,
          onProgress: ({ done, total }) => {
            progress.update(`published ${done} of ${total} messages`);
          },
        });
        progress.end("replayed");
        print(program.opts<GlobalOptions>(), { into }, `${directory} is replayed into ${into}`);
      } finally {
        await connection.close();
      }
    });
}

/** Every message is too often for a terminal. */
function inSteps<T extends { readonly done: number }>(show: (at: T) => void): (at: T) => void {
  let next = 0;
  return (at) => {
    if (at.done < next) return;
    next = at.done + 500;
    show(at);
  };
}
