/**
 * @module What a node has signed about THSM_REQ, on its own disk before anybody hears of it: a node that was
 * killed, or shown another history meanwhile, signs nothing that contradicts its last checkpoint.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Equals, IsArray, IsInt, IsString, Matches, MaxLength, Min } from "class-validator";
import { GrowingTree } from "../checkpoint/merkle.js";
import { describeError, HsmError } from "../errors.js";
import { readIfPresent, writeFileDurably } from "../identity/secret-file.js";
import { parseJson, validated } from "../validate.js";

/** A tree that was signed. */
export interface SignedHead {
  readonly size: number;
  /** Lower-case hex. */
  readonly root: string;
}

export interface CheckpointState {
  /** As at the last checkpoint. */
  readonly tree: GrowingTree;
  /** The last checkpoints, oldest first. */
  readonly signed: readonly SignedHead[];
  /** Why this node signs nothing any more; "" as long as it does. */
  readonly conflict: string;
}

class StateFile {
  @Equals(1) readonly version: number = 1;
  @IsInt() @Min(0) readonly size!: number;
  @IsArray() @Matches(/^[0-9a-f]{64}$/, { each: true }) readonly subtrees!: string[];
  /** "SIZE ROOT" each. */
  @IsArray() @Matches(/^\d{1,16} [0-9a-f]{64}$/, { each: true }) readonly signed!: string[];
  @IsString() @MaxLength(1000) readonly conflict!: string;
}

/** Of the state and of what the stream held, in a node's data directory. */
export function checkpointFiles(dataDir: string): { state: string; requests: string } {
  return { state: join(dataDir, "checkpoints.json"), requests: join(dataDir, "requests") };
}

/** Forgets what was seen and signed: this node has no checkpoints until it is shown every request again. */
export async function forgetCheckpoints(dataDir: string): Promise<void> {
  for (const path of Object.values(checkpointFiles(dataDir))) await rm(path, { force: true });
}

/** @throws HsmError `ERR_JOURNAL` when the file is not as it was written */
export async function readCheckpointState(path: string): Promise<CheckpointState> {
  const bytes = await readIfPresent(path);
  if (bytes === undefined) return { tree: new GrowingTree(), signed: [], conflict: "" };
  try {
    const file = validated(StateFile, parseJson(bytes), "ERR_JOURNAL");
    const tree = new GrowingTree(
      file.size,
      file.subtrees.map((one) => Buffer.from(one, "hex")),
    );
    const signed = file.signed.map((line) => {
      const [size = "", root = ""] = line.split(" ");
      return { size: Number(size), root };
    });
    const last = signed.at(-1);
    const isWhole = last === undefined || (last.size === tree.size && last.root === hexOf(tree));
    if (!isWhole) throw new Error("its tree is not the one that was signed last");
    return { tree, signed, conflict: file.conflict };
  } catch (cause) {
    throw new HsmError(
      "ERR_JOURNAL",
      `${path}: ${describeError(cause)}; restore the data directory from its newest state`,
      { cause },
    );
  }
}

export async function writeCheckpointState(path: string, state: CheckpointState): Promise<void> {
  const { tree, signed, conflict } = state;
  const file: StateFile = {
    version: 1,
    size: tree.size,
    subtrees: tree.subtrees.map((one) => Buffer.from(one).toString("hex")),
    signed: signed.map(({ size, root }) => `${size} ${root}`),
    conflict,
  };
  await writeFileDurably(path, `${JSON.stringify(file)}\n`, 0o600);
}

export function hexOf(tree: GrowingTree): string {
  return tree.root().toString("hex");
}
