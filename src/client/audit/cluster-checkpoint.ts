/**
 * @module The cluster's own word on its history: a checkpoint under an RSA signature to which k nodes gave a
 * share, each only to a checkpoint that it had made itself. Fewer than k nodes cannot forge one.
 */
import {
  checkpointDigest,
  clusterNoteKey,
  isSignedBy,
  parseCheckpoint,
} from "../../checkpoint/checkpoint.js";
import { formatNote, parseNote, signatureOf } from "../../checkpoint/note.js";
import { HsmError } from "../../errors.js";
import type { CallOptions, HsmClient, KeyInfo } from "../api.js";
import { publicKeyDer } from "../verify.js";

/**
 * The note with the line of a key that signs checkpoints.
 * @throws HsmError `ERR_INVALID_ARGUMENT` for another key, `ERR_REFUSED_BY_POLICY` when too few nodes have made
 *   this checkpoint themselves
 */
export async function signedByCluster(
  client: Pick<HsmClient, "openSession">,
  clusterName: string,
  key: KeyInfo,
  file: string,
  options: CallOptions = {},
): Promise<string> {
  const { keyId, token, policy } = key;
  if (!policy.encodings.includes("checkpoint")) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `key ${keyId} signs no checkpoints: make one with thsm key generate --encoding checkpoint --hash sha256`,
    );
  }
  const note = parseNote(file);
  const data = Buffer.from(checkpointDigest(parseCheckpoint(note.text)), "hex");
  const session = await client.openSession(token, "thsm audit checkpoint");
  try {
    const input = { keyId, encoding: "checkpoint", hash: "sha256", data } as const;
    const signature = await session.sign(input, options);
    const noteKey = clusterNoteKey(clusterName, keyId, publicKeyDer(key));
    const signatures = [...note.signatures, signatureOf(noteKey, signature)];
    const signed = { text: note.text, signatures };
    if (!isSignedBy(signed, noteKey)) throw new HsmError("ERR_INTERNAL", "no signature was made");
    return formatNote(signed);
  } finally {
    await session.close();
  }
}
