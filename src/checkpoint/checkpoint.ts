/**
 * @module Checkpoints, as C2SP has them (c2sp.org/tlog-checkpoint): how many requests THSM_REQ held, and the
 * Merkle root over all of them. A node signs it with its identity key.
 */
import { createHash, createPublicKey, verify } from "node:crypto";
import { HsmError } from "../errors.js";
import { fromBase64url } from "../identity/encoding.js";
import type { IdentityKey, IdentityPublicKey } from "../identity/identity-key.js";
import { hashLength, leafHash, type TreeHead } from "./merkle.js";
import { noteKeyHash, signatureOf, type Note, type NoteKey, type NoteSignature } from "./note.js";

const stream = "THSM_REQ";
const form = /^([^\n]+)\n(0|[1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n$/;

export interface Checkpoint extends TreeHead {
  /** `<cluster>/THSM_REQ`. */
  readonly origin: string;
}

export function originOf(clusterName: string): string {
  return `${clusterName}/${stream}`;
}

/** The leaf of a message, by its hash (lower-case hex). */
export function leafOfMessage(hash: string): Buffer {
  return leafHash(Buffer.from(hash, "hex"));
}

/** The leaf of a sequence number that holds no message of ours, or nothing that can be read. */
export const leafOfNothing: Buffer = leafHash(Buffer.alloc(0));

/** What is signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** SHA-256 of what is signed, lower-case hex. */
export function checkpointDigest(checkpoint: Checkpoint): string {
  return createHash("sha256").update(checkpointText(checkpoint)).digest("hex");
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` */
export function parseCheckpoint(text: string): Checkpoint {
  const [, origin = "", size = "", base64 = ""] = form.exec(text) ?? [];
  const root = Buffer.from(base64, "base64");
  if (root.length !== hashLength || root.toString("base64") !== base64) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      "no checkpoint: expected the lines origin, size and root (32 bytes in base64)",
    );
  }
  return { origin, size: Number(size), root };
}

/** The key of a node's signature line. */
export function nodeNoteKey(clusterName: string, node: string, key: IdentityPublicKey): NoteKey {
  const publicKey = fromBase64url(key.text, "identity key");
  return { name: `${clusterName}/${node}`, type: "ed25519", publicKey };
}

/** The key of the cluster's signature line: a key that signs nothing but checkpoints. */
export function clusterNoteKey(clusterName: string, keyId: string, der: Uint8Array): NoteKey {
  return { name: `${clusterName}/${keyId}`, type: "rsaSha256", publicKey: der };
}

/** The ids of keys by which the cluster says to have signed. */
export function keysNamedIn({ signatures }: Note, clusterName: string): string[] {
  return signatures
    .filter(({ name }) => name.startsWith(`${clusterName}/`))
    .map(({ name }) => name.slice(clusterName.length + 1))
    .filter((name) => /^[0-9a-f]{32}$/.test(name));
}

export function signCheckpoint(text: string, noteKey: NoteKey, key: IdentityKey): NoteSignature {
  return signatureOf(noteKey, key.sign(Buffer.from(text, "utf8")));
}

/** Whether one of the note's lines is by this key, and right. */
export function isSignedBy({ text, signatures }: Note, key: NoteKey): boolean {
  const keyHash = noteKeyHash(key);
  const own = signatures.filter((one) => one.name === key.name && one.keyHash === keyHash);
  if (own.length === 0) return false;
  const bytes = Buffer.from(text, "utf8");
  const der =
    key.type === "ed25519"
      ? Buffer.concat([ed25519Prefix, key.publicKey])
      : Buffer.from(key.publicKey);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  const algorithm = key.type === "ed25519" ? null : "sha256";
  return own.some(({ signature }) => verify(algorithm, bytes, publicKey, signature));
}

// RFC 8410: the fixed DER that stands before a raw Ed25519 key.
const ed25519Prefix = Buffer.from("302a300506032b6570032100", "hex");
