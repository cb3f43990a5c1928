/**
 * @module Signed notes, as C2SP has them (c2sp.org/signed-note): a text for people, and below it one line for
 * each signature. A line names its key and tells four bytes of the key's hash.
 */
import { createHash } from "node:crypto";
import { HsmError } from "../errors.js";

/** Kinds of keys; the bytes go into the key's hash. */
export type SignatureType = "ed25519" | "rsaSha256";
const signatureTypes: Readonly<Record<SignatureType, Buffer>> = {
  ed25519: Buffer.of(1),
  /** No type of C2SP's: 0xff, then a name. The key is the DER of its SubjectPublicKeyInfo. */
  rsaSha256: Buffer.concat([Buffer.of(0xff), Buffer.from("thsm/v1 rsa-pkcs1v15-sha256")]),
};

export interface NoteKey {
  readonly name: string;
  readonly type: SignatureType;
  /** Ed25519: 32 bytes. RSA: DER. */
  readonly publicKey: Uint8Array;
}

export interface NoteSignature {
  readonly name: string;
  /** The first four bytes of the key's hash, lower-case hex. */
  readonly keyHash: string;
  readonly signature: Uint8Array;
}

export interface Note {
  /** Ends with a line feed. What is signed are these bytes. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

const keyHashLength = 4;
const longestNote = 64 * 1024;
const signatureLine = /^\u2014 ([^\s+]{1,200}) ([A-Za-z0-9+/]{8,2000}={0,2})$/u;
const separator = "\n\n";

export function noteKeyHash({ name, type, publicKey }: NoteKey): string {
  const hash = createHash("sha256").update(`${name}\n`);
  hash.update(signatureTypes[type]).update(publicKey);
  return hash.digest("hex").slice(0, 2 * keyHashLength);
}

export function signatureOf(key: NoteKey, signature: Uint8Array): NoteSignature {
  return { name: key.name, keyHash: noteKeyHash(key), signature };
}

/** The bytes of the file. */
export function formatNote({ text, signatures }: Note): string {
  const lines = signatures.map(({ name, keyHash, signature }) => {
    const bytes = Buffer.concat([Buffer.from(keyHash, "hex"), signature]);
    return `\u2014 ${name} ${bytes.toString("base64")}\n`;
  });
  return `${text}\n${lines.join("")}`;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` */
export function parseNote(file: string): Note {
  if (file.length > longestNote) throw invalid(`longer than ${longestNote} characters`);
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0009\u000b-\u001f]/u.test(file)) throw invalid("it has control characters");
  const end = file.lastIndexOf(separator);
  if (end < 0 || !file.endsWith("\n")) throw invalid("no signatures behind an empty line");
  const text = file.slice(0, end + 1);
  const lines = file.slice(end + separator.length, -1).split("\n");
  const signatures = lines.map((line) => {
    const [, name = "", base64 = ""] = signatureLine.exec(line) ?? [];
    const bytes = Buffer.from(base64, "base64");
    if (bytes.length <= keyHashLength || bytes.toString("base64") !== base64) {
      throw invalid(`${JSON.stringify(line.slice(0, 80))} is no signature line`);
    }
    const keyHash = bytes.toString("hex", 0, keyHashLength);
    return { name, keyHash, signature: bytes.subarray(keyHashLength) };
  });
  return { text, signatures };
}

function invalid(why: string): HsmError {
  return new HsmError("ERR_INVALID_ARGUMENT", `no signed note: ${why}`);
}
