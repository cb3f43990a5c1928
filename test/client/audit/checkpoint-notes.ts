/** @module Checkpoints of a history in memory, signed by its nodes. */
import {
  checkpointText,
  leafOfMessage,
  nodeNoteKey,
  originOf,
  signCheckpoint,
} from "../../../src/checkpoint/checkpoint.js";
import { GrowingTree } from "../../../src/checkpoint/merkle.js";
import type { Note } from "../../../src/checkpoint/note.js";
import { assembleMessage } from "../../../src/streams/envelope.js";
import type { HistoryBuilder } from "./history.js";

/** What a node signs of the first `size` requests. `spoil`: changes the root. */
export function noteOf(history: HistoryBuilder, node: string, size: number, spoil = 0): Note {
  const tree = new GrowingTree();
  for (const { subject, payload, signature } of history.streams.THSM_REQ.slice(0, size)) {
    tree.append(leafOfMessage(assembleMessage("THSM_REQ", subject, payload, signature).hash));
  }
  const root = tree.root();
  root[0] = (root[0] ?? 0) ^ spoil;
  const key = history.identity(node);
  const text = checkpointText({ origin: originOf(history.cluster.name), size, root });
  const noteKey = nodeNoteKey(history.cluster.name, node, key.publicKey);
  return { text, signatures: [signCheckpoint(text, noteKey, key)] };
}
