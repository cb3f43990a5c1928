/**
 * @module The sender's signature around every message. The broker, its permissions and the
 * subject prove nothing: a message is its sender's when the identity key that cluster.toml names
 * has signed exactly these bytes for exactly this stream and subject.
 */
import { hash as digestOf } from "node:crypto";
import { headers, type MsgHdrs } from "nats";
import { HsmError } from "../errors.js";
import type { Cluster, Member } from "../identity/cluster.js";
import { fromBase64url, toBase64url } from "../identity/encoding.js";
import type { IdentityKey } from "../identity/identity-key.js";
import type { StreamName } from "./subjects.js";

const domain = Buffer.from("thsm/v1\0");
const signatureHeader = "Thsm-Sig";
const signatureForm = /^ed25519 ([0-9a-f]{16}) ([A-Za-z0-9_-]{86})$/;

/** The `prev` of the first message of a chain. */
export const chainStart: string = "0".repeat(64);

/** A message as it is published, byte for byte the same on every retry. */
export interface SignedMessage {
  readonly stream: StreamName | "";
  readonly subject: string;
  readonly payload: Uint8Array;
  /** The `Thsm-Sig` header: `ed25519 <identity key id> <base64url signature>`. */
  readonly signature: string;
  /** SHA-256 of the signed bytes and the signature, lower-case hex: names the message. */
  readonly hash: string;
}

/** A message as a stream holds it. `seq` and `time` are the server's word. */
export interface StoredMessage extends SignedMessage {
  readonly seq: number;
  readonly time: string;
}

/**
 * Signs `body` for a stream ("" for a subject that is not stored) and a subject.
 * `body` must not contain anything secret.
 */
export function signMessage(
  key: IdentityKey,
  stream: StreamName | "",
  subject: string,
  body: object,
): SignedMessage {
  const payload = Buffer.from(JSON.stringify(body), "utf8");
  const signed = signedBytes(stream, subject, payload);
  const bytes = key.sign(signed);
  const signature = `ed25519 ${key.publicKey.keyId} ${toBase64url(bytes)}`;
  return { stream, subject, payload, signature, hash: messageHash(signed, bytes) };
}

/** The same message from its parts, as read back from a journal or a stream. Not yet verified. */
export function assembleMessage(
  stream: StreamName | "",
  subject: string,
  payload: Uint8Array,
  signature: string,
): SignedMessage {
  const { bytes } = parseSignature(signature);
  const hash = messageHash(signedBytes(stream, subject, payload), bytes);
  return { stream, subject, payload, signature, hash };
}

/**
 * The member whose identity key signed this message.
 * @throws HsmError `ERR_INVALID_SIGNATURE`, or `ERR_UNKNOWN_SENDER` for a key of nobody's.
 */
export function verifyMessage(cluster: Cluster, message: SignedMessage): Member {
  const { member, signed, signature } = signatureClaim(cluster, message);
  if (!member.identity.verify(signed, signature)) throw notSigned(message, member);
  return member;
}

/** What a message says of its signature: to be verified elsewhere, in another thread say. */
export interface SignatureClaim {
  readonly member: Member;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** @throws HsmError `ERR_INVALID_SIGNATURE`, or `ERR_UNKNOWN_SENDER` for a key of nobody's. */
export function signatureClaim(cluster: Cluster, message: SignedMessage): SignatureClaim {
  const { keyId, bytes } = parseSignature(message.signature);
  const member = cluster.byKeyId(keyId);
  if (member === undefined) {
    throw new HsmError("ERR_UNKNOWN_SENDER", `no member of the cluster has identity ${keyId}`);
  }
  const signed = signedBytes(message.stream, message.subject, message.payload);
  return { member, signed, signature: bytes };
}

/** What is to be said of a message whose claim is false. */
export function notSigned({ subject }: SignedMessage, { role, name }: Member): HsmError {
  return new HsmError(
    "ERR_INVALID_SIGNATURE",
    `message on ${subject} is not signed by ${role} ${name}`,
  );
}

/** Headers to publish a message with. The id makes JetStream drop repeats of the same bytes. */
export function messageHeaders(message: SignedMessage): MsgHdrs {
  const h = headers();
  h.set(signatureHeader, message.signature);
  if (message.stream !== "")
    h.set("Nats-Msg-Id", Buffer.from(message.hash, "hex").toString("base64url"));
  return h;
}

/** The signature among received headers. @throws HsmError `ERR_INVALID_SIGNATURE` without one. */
export function signatureOf(h: MsgHdrs | undefined): string {
  const values = h?.values(signatureHeader) ?? [];
  const [signature] = values;
  if (signature === undefined || values.length !== 1) {
    throw new HsmError(
      "ERR_INVALID_SIGNATURE",
      `expected one ${signatureHeader} header, got ${values.length}`,
    );
  }
  return signature;
}

function parseSignature(text: string): { keyId: string; bytes: Uint8Array } {
  const [, keyId = "", bytes = ""] = signatureForm.exec(text) ?? [];
  if (keyId === "") {
    throw new HsmError("ERR_INVALID_SIGNATURE", `malformed ${signatureHeader} header`);
  }
  return { keyId, bytes: fromBase64url(bytes, signatureHeader) };
}

function signedBytes(stream: string, subject: string, payload: Uint8Array): Buffer {
  const digest = digestOf("sha256", payload, "buffer");
  return Buffer.concat([domain, Buffer.from(`${stream}\0${subject}\0`, "utf8"), digest]);
}

function messageHash(signed: Uint8Array, signature: Uint8Array): string {
  return digestOf("sha256", Buffer.concat([signed, signature]), "hex");
}
