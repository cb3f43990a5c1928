/** @module `thsm audit prove`, `check-proof`: for whoever has a checkpoint and not the stream. */
import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import {
  checkProof,
  proveConsistency,
  proveInclusion,
  readProof,
  type OpenHistory,
  type Proof,
} from "../client/index.js";
import { HsmError } from "../errors.js";
import { readCheckpoint, witnessesOf } from "./audit-checkpoint.js";
import { clusterOf, withHistory, withSource, type SourceFlags } from "./audit-source.js";
import { print, say, type GlobalOptions } from "./context.js";

interface ProveFlags extends SourceFlags {
  readonly out?: string;
}

const exitCodes = `
Exit code: 0 proven, 3 it is not so, 2 the history or a file could not be read.`;

export function addProofCommands(program: Command, audit: Command): void {
  const prove = audit
    .command("prove")
    .description("prove to whoever has a checkpoint, and not the stream, what it is over");

  withSource(prove.command("inclusion"))
    .description("prove that a request is under a checkpoint")
    .argument("<request>", "the request's id, or its number in THSM_REQ")
    .requiredOption("--checkpoint <file>", "the checkpoint, as thsm audit checkpoint wrote it")
    .option("--out <file>", "write the proof to a file instead of the terminal")
    .addHelpText(
      "after",
      `${exitCodes}

Example: thsm audit prove inclusion 4711 --checkpoint today.checkpoint --out 4711.proof`,
    )
    .action(async (request: string, flags: ProveFlags & { checkpoint: string }) => {
      const note = await readCheckpoint(flags.checkpoint);
      await proveBy(program, flags, ({ source, cluster }) =>
        proveInclusion(source, cluster, note, request),
      );
    });

  withSource(prove.command("consistency"))
    .description("prove that a checkpoint has all that an older one is over")
    .argument("<older>", "a checkpoint")
    .argument("<newer>", "a later one")
    .option("--out <file>", "write the proof to a file instead of the terminal")
    .addHelpText(
      "after",
      `${exitCodes}

Example: thsm audit prove consistency monday.checkpoint friday.checkpoint --out week.proof`,
    )
    .action(async (older: string, newer: string, flags: ProveFlags) => {
      const [from, to] = [await readCheckpoint(older), await readCheckpoint(newer)];
      await proveBy(program, flags, ({ source, cluster }) =>
        proveConsistency(source, cluster, from, to),
      );
    });

  audit
    .command("check-proof")
    .description("check a proof of thsm audit prove, with cluster.toml and nothing else")
    .argument("<file>", "the proof")
    .option("--cluster <file>", "cluster.toml (default: beside $THSM_AUDITOR_CONFIG)")
    .option("--witnesses <n>", "how many nodes must have signed (default: more than half)")
    .addHelpText(
      "after",
      `
Compare the checkpoint in the proof with the one that you have kept: the proof is about its own.
Exit code: 0 it holds, 3 it does not, 2 the file could not be read.

Example: thsm audit check-proof --cluster /etc/thsm/cluster.toml 4711.proof`,
    )
    .action(async (file: string, flags: { cluster?: string; witnesses?: string }) => {
      const cluster = await clusterOf(flags.cluster);
      const proof = await readProof(file);
      const verdict = checkProof(cluster, proof, witnessesOf(cluster, flags.witnesses));
      const { holds, text, signers } = verdict;
      const by = signers.length > 0 ? `\n  signed by ${signers.join(", ")}` : "";
      const word = holds ? "HOLDS" : "DOES NOT HOLD";
      print(program.opts<GlobalOptions>(), { version: 1, ...verdict }, `${word}: ${text}${by}`);
      process.exitCode = holds ? 0 : 3;
    });
}

async function proveBy(
  program: Command,
  flags: ProveFlags,
  prove: (history: OpenHistory) => Promise<Proof>,
): Promise<void> {
  await withHistory(flags, async (history) => {
    try {
      const proof = await prove(history);
      const { out } = flags;
      const json = JSON.stringify(proof, undefined, 2);
      if (out !== undefined) await writeFile(out, `${json}\n`);
      const text = out === undefined ? json : `proof written to ${out}`;
      print(program.opts<GlobalOptions>(), proof, text);
    } catch (error) {
      if (!(error instanceof HsmError) || error.code !== "ERR_AUDIT_MISMATCH") throw error;
      say(`thsm: ${error.message}`);
      process.exitCode = 3;
    }
  });
}
