/** @module Whose word a note with a checkpoint is, by what cluster.toml says of the cluster. */
import {
  isSignedBy,
  nodeNoteKey,
  originOf,
  parseCheckpoint,
  type Checkpoint,
} from "../../checkpoint/checkpoint.js";
import type { Note } from "../../checkpoint/note.js";
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";

/** @throws HsmError `ERR_INVALID_ARGUMENT` for what is no checkpoint of this cluster */
export function checkpointIn({ name }: Cluster, { text }: Note): Checkpoint {
  const checkpoint = parseCheckpoint(text);
  const origin = originOf(name);
  if (checkpoint.origin === origin) return checkpoint;
  throw new HsmError("ERR_INVALID_ARGUMENT", `it is of ${checkpoint.origin}, not of ${origin}`);
}

/** The nodes whose signature lines are right. */
export function signersOf(cluster: Cluster, note: Note): string[] {
  return cluster.members
    .filter(({ role }) => role === "node")
    .filter(({ name, identity }) => isSignedBy(note, nodeNoteKey(cluster.name, name, identity)))
    .map(({ name }) => name);
}
