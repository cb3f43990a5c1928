/**
 * @module The newest checkpoint that enough nodes have signed: what to keep elsewhere. A history has many
 * checkpoints; those are remembered that may still find witnesses.
 */
import { isSignedBy, nodeNoteKey } from "../../checkpoint/checkpoint.js";
import { formatNote, parseNote, type Note } from "../../checkpoint/note.js";
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { readAuditEvent, verifySender } from "../../streams/open.js";
import type { Entry } from "../../streams/read.js";
import { checkpointIn } from "./checkpoint-note.js";
import type { HistorySource } from "./sources.js";

/** Checkpoints that too few have signed so far. A node may be so many intervals behind the others. */
const mostOpen = 1024;

interface Signed {
  readonly node: string;
  readonly size: number;
  readonly note: Note;
}

interface Candidate {
  readonly size: number;
  /** By signer's name. */
  readonly lines: Map<string, Note["signatures"][number]>;
}

/**
 * The newest checkpoint on which `threshold` nodes agree, as the bytes of one note with the lines of all of them.
 * @throws HsmError `ERR_QUORUM_NOT_REACHED` when there is none; says how far each node is
 */
export async function witnessedCheckpoint(
  source: HistorySource,
  cluster: Cluster,
  threshold: number,
): Promise<string> {
  /** By text, the oldest first. */
  const open = new Map<string, Candidate>();
  const newestOf = new Map<string, number>();
  let newest: { readonly text: string } & Candidate = { text: "", size: -1, lines: new Map() };
  for await (const entry of source.entries("THSM_AUDIT")) {
    const signed = signedIn(cluster, entry);
    if (signed === undefined || signed.size < newest.size) continue;
    const { node, size, note } = signed;
    const { text, signatures } = note;
    newestOf.set(node, Math.max(size, newestOf.get(node) ?? 0));
    const candidate =
      text === newest.text ? newest : (open.get(text) ?? { size, lines: new Map() });
    for (const line of signatures) candidate.lines.set(line.name, line);
    if (candidate === newest) continue;
    open.set(text, candidate);
    if (candidate.lines.size >= threshold && size > newest.size) {
      newest = { text, ...candidate };
      for (const [other, { size: smaller }] of open) if (smaller <= size) open.delete(other);
    }
    const [oldest = ""] = open.keys();
    if (open.size > mostOpen) open.delete(oldest);
  }
  const { text, lines } = newest;
  if (text !== "") return formatNote({ text, signatures: [...lines.values()] });
  const each = cluster.nodes.map(({ name }) => {
    const size = newestOf.get(name);
    return `${name} ${size === undefined ? "none" : `over ${size}`}`;
  });
  throw new HsmError(
    "ERR_QUORUM_NOT_REACHED",
    `no checkpoint is signed by ${threshold} nodes yet (the newest of each, by requests: ${each.join(", ")}): wait for an interval to end, or see thsm audit verify`,
  );
}

/** A checkpoint that the node itself recorded and signed. */
function signedIn(cluster: Cluster, entry: Entry): Signed | undefined {
  if (!("message" in entry) || !entry.message.subject.endsWith(".checkpoint")) return undefined;
  try {
    const body = readAuditEvent(entry.message);
    if (body?.type !== "checkpoint") return undefined;
    const { identity } = verifySender(cluster, entry.message, body, "node");
    const note = parseNote(body.note);
    const { size } = checkpointIn(cluster, note);
    const key = nodeNoteKey(cluster.name, body.node, identity);
    const isOwn = note.signatures.length === 1 && isSignedBy(note, key);
    return isOwn ? { node: body.node, size, note } : undefined;
  } catch (error) {
    // Anybody's bytes: the audit tells of them, here they are nobody's checkpoint.
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}
