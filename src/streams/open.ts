/**
 * @module From a received message to a checked body: shape, then agreement of payload and subject,
 * then the sender's right to send it. Everything that is read from the bus comes through here.
 */
import { HsmError } from "../errors.js";
import type { Cluster, Member, Role } from "../identity/cluster.js";
import { parseJson, validated } from "../validate.js";
import { auditEvents, type AuditEvent } from "./audit-events.js";
import { Heartbeat } from "./beats.js";
import { SealedShare } from "./deals.js";
import { verifyMessage, type SignedMessage } from "./envelope.js";
import { keyEvents, type KeyEvent } from "./keys.js";
import { objectEvents, type TokenObjectEvent } from "./objects.js";
import { SignRequest } from "./requests.js";
import { ShareMessage } from "./shares.js";
import { parseSubject } from "./subjects.js";

const code = "ERR_INVALID_MESSAGE";

/**
 * Each reader checks shape and routing fields only. It does not check the signature, so that a
 * reader may look whom a message concerns before it pays for that; `verifySender` must follow.
 * @throws HsmError `ERR_INVALID_MESSAGE`
 */
export function readRequest(
  message: SignedMessage,
  plain: unknown = parseJson(message.payload),
): SignRequest {
  const body = validated(SignRequest, plain, code);
  const { client, session, rid } = subjectOf(message, "request");
  requireAgreement(message, { client, session, rid }, body);
  const isPss = body.encoding === "pss";
  if (isPss ? body.salts?.length !== body.inputs.length : body.salts !== undefined) {
    throw new HsmError(code, "expected one salt an input for pss, and none otherwise");
  }
  return body;
}

/** @see readRequest */
export function readShare(message: SignedMessage): ShareMessage {
  const body = validated(ShareMessage, parseJson(message.payload), code);
  const { node, client, session, rid } = subjectOf(message, "share");
  requireAgreement(message, { node, client, session, rid }, body);
  if ((body.kind === "refusal") !== (body.shares === undefined)) {
    throw new HsmError(code, "expected shares exactly when the answer is not a refusal");
  }
  return body;
}

/** @see readRequest. Undefined for an event type of a later version: readers skip those. */
export function readKeyEvent(message: SignedMessage): KeyEvent | undefined {
  const plain = parseJson(message.payload);
  const type = typeOf(plain);
  const { key } = subjectOf(message, "key");
  if (!isKnown(keyEvents, type)) return undefined;
  const body = validated<KeyEvent>(keyEvents[type], plain, code);
  requireAgreement(message, { key }, body);
  return body;
}

/** @see readKeyEvent */
export function readObjectEvent(message: SignedMessage): TokenObjectEvent | undefined {
  const plain = parseJson(message.payload);
  const type = typeOf(plain);
  const { client, token, object } = subjectOf(message, "object");
  if (!isKnown(objectEvents, type)) return undefined;
  const body = validated<TokenObjectEvent>(objectEvents[type], plain, code);
  requireAgreement(message, { client, token, object }, body);
  return body;
}

/** @see readKeyEvent */
export function readAuditEvent(message: SignedMessage): AuditEvent | undefined {
  const plain = parseJson(message.payload);
  const type = typeOf(plain);
  const subject = parseSubject(message.subject);
  if (!isKnown(auditEvents, type)) return undefined;
  const body = validated<AuditEvent>(auditEvents[type], plain, code);
  const isOfNode = body.type === "misbehaviour" || body.type === "node-cleared";
  if (subject.kind === "client-audit" && !isOfNode) {
    requireAgreement(message, { client: subject.client, session: subject.session }, body);
  } else if (subject.kind === "node-audit" && !isOfNode && body.type !== "checkpoint") {
    requireAgreement(message, { node: subject.node }, body);
  } else if (subject.kind === "node-checkpoint" && body.type === "checkpoint") {
    requireAgreement(message, { node: subject.node }, body);
  } else if (subject.kind === "blame" && body.type === "misbehaviour") {
    requireAgreement(message, { client: subject.client, node: subject.node }, body);
  } else if (subject.kind === "clear" && body.type === "node-cleared") {
    requireAgreement(message, { operator: subject.operator, node: subject.node }, body);
  } else if (subject.kind === "operator-audit" && body.type === "rotated") {
    requireAgreement(message, { operator: subject.operator }, body);
  } else {
    throw new HsmError(code, `no audit event belongs on ${message.subject}`);
  }
  return body;
}

/** @see readRequest */
export function readSealedShare(message: SignedMessage): SealedShare {
  const body = validated(SealedShare, parseJson(message.payload), code);
  const { node, key } = subjectOf(message, "deal");
  requireAgreement(message, { node, key }, body);
  return body;
}

/** @see readRequest */
export function readHeartbeat(message: SignedMessage): Heartbeat {
  const body = validated(Heartbeat, parseJson(message.payload), code);
  const { node } = subjectOf(message, "beat");
  requireAgreement(message, { node }, body);
  return body;
}

/**
 * Checks that the message is signed by the very member that its body names, in its role.
 * @throws HsmError `ERR_INVALID_SIGNATURE`, `ERR_UNKNOWN_SENDER`
 */
export function verifySender(
  cluster: Cluster,
  message: SignedMessage,
  body: { readonly client?: string; readonly node?: string; readonly operator?: string },
  role: Exclude<Role, "auditor">,
): Member {
  const sender = verifyMessage(cluster, message);
  if (sender.role !== role || sender.name !== body[role]) {
    throw new HsmError(
      "ERR_UNKNOWN_SENDER",
      `message of ${role} ${body[role]} is signed by ${sender.role} ${sender.name}`,
    );
  }
  return sender;
}

function subjectOf<K extends ReturnType<typeof parseSubject>["kind"]>(
  message: SignedMessage,
  kind: K,
): Extract<ReturnType<typeof parseSubject>, { kind: K }> {
  const subject = parseSubject(message.subject);
  if (!isKind(subject, kind)) {
    throw new HsmError(code, `expected a ${kind} subject, got ${message.subject}`);
  }
  return subject;
}

function isKind<S extends { kind: string }, K extends string>(
  subject: S,
  kind: K,
): subject is Extract<S, { kind: K }> {
  return subject.kind === kind;
}

function requireAgreement(
  message: SignedMessage,
  routing: Readonly<Record<string, string>>,
  body: object,
): void {
  for (const field of Object.keys(routing)) {
    if (Reflect.get(body, field) !== routing[field]) {
      throw new HsmError(code, `payload and subject ${message.subject} disagree on ${field}`);
    }
  }
}

function typeOf(plain: unknown): string {
  const type = typeof plain === "object" && plain !== null && "type" in plain ? plain.type : "";
  if (typeof type !== "string" || !/^[a-z-]{1,40}$/.test(type)) {
    throw new HsmError(code, "expected an event type");
  }
  return type;
}

function isKnown<T extends object>(events: T, type: PropertyKey): type is keyof T {
  return Object.hasOwn(events, type);
}
