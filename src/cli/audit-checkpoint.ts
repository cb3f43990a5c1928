/** @module `thsm audit checkpoint`: what to keep elsewhere, so that no history can be cut or replaced unseen. */
import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { parseNote, signedByCluster, witnessedCheckpoint, type Note } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { withHistory, withSource, type SourceFlags } from "./audit-source.js";
import { chooseKey, login, print, withClient, type GlobalOptions } from "./context.js";

interface CheckpointFlags extends SourceFlags {
  readonly out?: string;
  readonly witnesses?: string;
  readonly threshold?: string;
}

export function addCheckpointCommand(program: Command, audit: Command): void {
  withSource(audit.command("checkpoint"))
    .description("the newest checkpoint that most nodes have signed, to keep elsewhere")
    .option("--out <file>", "write it to a file instead of the terminal")
    .option("--witnesses <n>", "how many nodes must agree (default: more than half)")
    .option("--threshold <key>", "have the cluster sign it too, with this key (label or id)")
    .addHelpText(
      "after",
      `
--threshold takes a key of thsm key generate --encoding checkpoint --hash sha256. Each node gives its share only to
a checkpoint that it has made itself, so that fewer nodes than the threshold cannot forge one. It needs client.toml.

Later, thsm audit verify --checkpoint FILE finds out whether all that it is over is still there.

Example: thsm audit checkpoint --out 2026-03-01.checkpoint`,
    )
    .action(async (flags: CheckpointFlags) => {
      await withHistory(flags, async ({ source, cluster }) => {
        const witnesses = witnessesOf(cluster, flags.witnesses);
        const witnessed = await witnessedCheckpoint(source, cluster, witnesses);
        const options = program.opts<GlobalOptions>();
        const note =
          flags.threshold === undefined
            ? witnessed
            : await signed(options, cluster, flags.threshold, witnessed);
        const { out } = flags;
        if (out !== undefined) await writeFile(out, note);
        const text = out === undefined ? note.trimEnd() : `checkpoint written to ${out}`;
        print(options, { note }, text);
      });
    });
}

async function signed(
  options: GlobalOptions,
  { name }: Cluster,
  wanted: string,
  note: string,
): Promise<string> {
  return await withClient(options, async (client) => {
    await login(options, client);
    const key = await chooseKey(client, undefined, wanted);
    return await signedByCluster(client, name, key, note);
  });
}

/** The checkpoints in the file that a flag names. @throws HsmError `ERR_INVALID_ARGUMENT` */
export async function readCheckpoints(path: string | undefined): Promise<Note[]> {
  return path === undefined ? [] : [await readCheckpoint(path)];
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` */
export async function readCheckpoint(path: string): Promise<Note> {
  try {
    return parseNote(await readFile(path, "utf8"));
  } catch (cause) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `${path}: ${describeError(cause)}`, { cause });
  }
}

/** How many nodes must have signed a checkpoint. @throws HsmError `ERR_INVALID_ARGUMENT` */
export function witnessesOf({ members }: Cluster, flag: string | undefined): number {
  const nodes = members.filter(({ role }) => role === "node").length;
  const witnesses = Number(flag ?? Math.floor(nodes / 2) + 1);
  if (Number.isInteger(witnesses) && witnesses >= 1 && witnesses <= nodes) return witnesses;
  throw new HsmError("ERR_INVALID_ARGUMENT", `--witnesses takes a number from 1 to ${nodes}`);
}
