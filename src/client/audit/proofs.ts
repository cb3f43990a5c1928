/**
 * @module Proofs for whoever has a checkpoint and not the stream: that a request is under it, or that a newer
 * checkpoint has all that an older one is over. A proof is a file that says everything, verified with
 * cluster.toml alone, or with standard tools (docs/checkpoints.md).
 */
import { readFile } from "node:fs/promises";
import { Equals, IsInt, IsString, MaxLength, Min } from "class-validator";
import { leafOfMessage } from "../../checkpoint/checkpoint.js";
import {
  consistencyProof,
  inclusionProof,
  isConsistent,
  isIncluded,
} from "../../checkpoint/merkle.js";
import { formatNote, parseNote, type Note } from "../../checkpoint/note.js";
import { describeError, HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { carry, IsCarriedList, unpack, type CarriedMessage } from "../../streams/carried.js";
import { verifyMessage, type SignedMessage } from "../../streams/envelope.js";
import { IsList } from "../../streams/fields.js";
import { readRequest } from "../../streams/open.js";
import { parseJson, validated } from "../../validate.js";
import { checkpointIn, signersOf } from "./checkpoint-note.js";
import type { HistorySource } from "./sources.js";
import { StreamLeaves } from "./stream-leaves.js";

const longestNote = 64 * 1024;
const IsNote = (): PropertyDecorator => (target, key) => {
  for (const decorate of [IsString(), MaxLength(longestNote)]) decorate(target, key);
};
/** Hashes, base64, the lowest of the tree first. A tree of 2^53 leaves is 53 high; consistency takes one more. */
const IsPath = (): PropertyDecorator => IsList(/^[A-Za-z0-9+/]{43}=$/, 0, 54, 44);

/** The request at `seq` is under the checkpoint. */
class InclusionProof {
  @Equals(1) readonly version: number = 1;
  @Equals("inclusion") readonly type = "inclusion";
  @IsNote() readonly checkpoint!: string;
  @IsInt() @Min(1) readonly seq!: number;
  /** The request, as signed: one. */
  @IsCarriedList() readonly messages!: CarriedMessage[];
  @IsPath() readonly proof!: string[];
}

/** The newer checkpoint has all that the older one is over. */
class ConsistencyProof {
  @Equals(1) readonly version: number = 1;
  @Equals("consistency") readonly type = "consistency";
  @IsNote() readonly older!: string;
  @IsNote() readonly newer!: string;
  @IsPath() readonly proof!: string[];
}

export type Proof = InclusionProof | ConsistencyProof;

export interface ProofVerdict {
  readonly holds: boolean;
  /** What was proven, or why it was not. */
  readonly text: string;
  /** Nodes that have signed each of the proof's checkpoints. */
  readonly signers: readonly string[];
}

/**
 * @param which - a request's id, or its number in THSM_REQ
 * @throws HsmError `ERR_AUDIT_MISMATCH` when the history is not what the checkpoint is over,
 *   `ERR_INVALID_ARGUMENT` for a request that is not under it
 */
export async function proveInclusion(
  source: HistorySource,
  cluster: Cluster,
  note: Note,
  which: string,
): Promise<Proof> {
  const { size } = checkpointIn(cluster, note);
  const { leaves, found } = await readLeaves(source, size, which);
  const [one, another] = found;
  if (one === undefined || another !== undefined) {
    const what =
      one === undefined ? "no request" : "more than one request, say which by its number";
    throw new HsmError("ERR_INVALID_ARGUMENT", `${which}: ${what} under a checkpoint of ${size}`);
  }
  const { seq, message } = one;
  const proof: Proof = {
    version: 1,
    type: "inclusion",
    checkpoint: formatNote(note),
    seq,
    messages: [carry(message)],
    proof: base64(inclusionProof(seq - 1, size, (index) => leaves.at(index))),
  };
  return whole(cluster, proof);
}

/** @throws HsmError `ERR_AUDIT_MISMATCH` when the history is not what the checkpoints are over */
export async function proveConsistency(
  source: HistorySource,
  cluster: Cluster,
  older: Note,
  newer: Note,
): Promise<Proof> {
  const [from, to] = [checkpointIn(cluster, older).size, checkpointIn(cluster, newer).size];
  if (from < 1 || from > to) {
    const text = `a checkpoint of ${to} requests does not continue one of ${from}: the older one first`;
    throw new HsmError("ERR_INVALID_ARGUMENT", text);
  }
  const { leaves } = await readLeaves(source, to);
  const proof: Proof = {
    version: 1,
    type: "consistency",
    older: formatNote(older),
    newer: formatNote(newer),
    proof: base64(consistencyProof(from, to, (index) => leaves.at(index))),
  };
  return whole(cluster, proof);
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` for a file that cannot be read, or holds no proof */
export async function readProof(path: string): Promise<Proof> {
  try {
    const plain = parseJson(await readFile(path));
    const isInclusion =
      typeof plain === "object" && plain !== null && Reflect.get(plain, "type") === "inclusion";
    return isInclusion
      ? validated(InclusionProof, plain, "ERR_INVALID_ARGUMENT")
      : validated(ConsistencyProof, plain, "ERR_INVALID_ARGUMENT");
  } catch (cause) {
    const why = describeError(cause);
    throw new HsmError("ERR_INVALID_ARGUMENT", `${path} holds no proof: ${why}`, { cause });
  }
}

/** Whether a proof holds, and at least `witnesses` nodes have signed its checkpoints. */
export function checkProof(cluster: Cluster, proof: Proof, witnesses: number): ProofVerdict {
  try {
    const { text, notes } =
      proof.type === "inclusion"
        ? checkInclusion(cluster, proof)
        : checkConsistency(cluster, proof);
    const signers = notes
      .map((note) => signersOf(cluster, note))
      .reduce((one, other) => one.filter((name) => other.includes(name)));
    if (signers.length >= witnesses) return { holds: true, text, signers };
    const few = `signed by ${signers.length} nodes, ${witnesses} are asked for`;
    return { holds: false, text: few, signers };
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
    return { holds: false, text: error.message, signers: [] };
  }
}

/** What a proof proves, as far as its notes are signed. */
interface Proven {
  readonly text: string;
  readonly notes: readonly Note[];
}

function checkInclusion(
  cluster: Cluster,
  { checkpoint, seq, messages, proof }: InclusionProof,
): Proven {
  const note = parseNote(checkpoint);
  const { size, root } = checkpointIn(cluster, note);
  const [carried, more] = messages;
  if (carried === undefined || more !== undefined) throw mismatch("it is not about one request");
  const message = unpack(carried);
  const { name } = verifyMessage(cluster, message);
  const leaf = leafOfMessage(message.hash);
  if (!isIncluded({ index: seq - 1, size, leaf }, bytes(proof), root)) {
    throw mismatch(`the request is not entry ${seq} of what the checkpoint is over`);
  }
  const { rid } = readRequest(message);
  const text = `request ${rid} of ${name} is entry ${seq} of the ${size} that the checkpoint is over`;
  return { text, notes: [note] };
}

function checkConsistency(cluster: Cluster, proof: ConsistencyProof): Proven {
  const [from, to] = [parseNote(proof.older), parseNote(proof.newer)];
  const [older, newer] = [checkpointIn(cluster, from), checkpointIn(cluster, to)];
  if (!isConsistent(older, newer, bytes(proof.proof))) {
    throw mismatch("the newer checkpoint does not have what the older one is over");
  }
  const text = `the checkpoint of ${newer.size} has all ${older.size} requests of the older one, unchanged`;
  return { text, notes: [from, to] };
}

interface Found {
  readonly seq: number;
  readonly message: SignedMessage;
}

async function readLeaves(
  source: HistorySource,
  size: number,
  which?: string,
): Promise<{ leaves: StreamLeaves; found: readonly Found[] }> {
  const leaves = new StreamLeaves();
  const found: Found[] = [];
  for await (const entry of source.entries("THSM_REQ")) {
    if (entry.seq > size) break;
    const message = "message" in entry ? entry.message : undefined;
    leaves.entry(entry.seq, message?.hash);
    if (which === undefined || message === undefined) continue;
    if (which === String(entry.seq) || message.subject.endsWith(`.${which}`)) {
      found.push({ seq: entry.seq, message });
    }
  }
  if (leaves.size < size) {
    throw mismatch(`THSM_REQ has ${leaves.size} requests, the checkpoint is over ${size}`);
  }
  return { leaves, found };
}

/** No proof leaves this module that does not hold. */
function whole(cluster: Cluster, proof: Proof): Proof {
  const { holds, text } = checkProof(cluster, proof, 1);
  if (holds) return proof;
  throw mismatch(`cannot be proven, see thsm audit verify --checkpoint: ${text}`);
}

function base64(hashes: readonly Buffer[]): string[] {
  return hashes.map((hash) => hash.toString("base64"));
}

function bytes(path: readonly string[]): Buffer[] {
  return path.map((hash) => Buffer.from(hash, "base64"));
}

function mismatch(text: string): HsmError {
  return new HsmError("ERR_AUDIT_MISMATCH", text);
}
