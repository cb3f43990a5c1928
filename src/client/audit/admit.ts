/**
 * @module From an entry of a stream to a message that its sender answers for: signature, shape,
 * agreement of payload and subject, and the sender's right to it, in this order.
 */
import { HsmError } from "../../errors.js";
import type { Cluster, Member } from "../../identity/cluster.js";
import type { AuditEvent } from "../../streams/audit-events.js";
import { verifyMessage, type StoredMessage } from "../../streams/envelope.js";
import type { KeyEvent } from "../../streams/keys.js";
import { readAuditEvent, readKeyEvent, readRequest, readShare } from "../../streams/open.js";
import type { Entry } from "../../streams/read.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import { parseSubject } from "../../streams/subjects.js";
import { parseJson } from "../../validate.js";
import type { FindingCode, Report } from "./findings.js";
import type { KeptStream } from "./sources.js";

/** A message together with its checked body. */
export interface Read<B> {
  readonly message: StoredMessage;
  readonly body: B;
}

/** A message's place in its node's hash chain. */
export interface ChainLink {
  readonly node: string;
  readonly n: number;
  readonly prev: string;
}

export type Admitted = { readonly link: ChainLink | undefined } & (
  | ({ readonly kind: "request" } & Read<SignRequest>)
  | ({ readonly kind: "share" } & Read<ShareMessage>)
  | ({ readonly kind: "key" } & Read<KeyEvent>)
  | ({ readonly kind: "audit" } & Read<AuditEvent>)
  | ({ readonly kind: "unknown" } & Read<undefined>)
);

/** The admitted message; undefined, and a finding, for an entry that nobody answers for. */
export function admit(
  cluster: Cluster,
  stream: KeptStream,
  entry: Entry,
  report: Report,
): Admitted | undefined {
  try {
    if ("junk" in entry) throw entry.junk;
    const { message } = entry;
    const sender = verifyMessage(cluster, message);
    const admitted = read(stream, message, sender);
    requireSender(sender, admitted);
    if (admitted.kind === "unknown") {
      report({
        code: "AUDIT_UNKNOWN_EVENT",
        stream,
        seq: [entry.seq],
        text: `${sender.role} ${sender.name} stored an event of a type that this version does not know, on ${message.subject} at ${message.time}`,
      });
    }
    return admitted;
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
    const where = "message" in entry ? `stored at ${entry.message.time}` : "no message of ours";
    report({
      code: codeOf(error),
      stream,
      seq: [entry.seq],
      text: `entry ${entry.seq} of ${stream}, ${where}: ${error.message}`,
    });
    return undefined;
  }
}

function read(stream: KeptStream, message: StoredMessage, sender: Member): Admitted {
  switch (stream) {
    case "THSM_REQ":
      return { kind: "request", message, body: readRequest(message), link: undefined };
    case "THSM_SHARE": {
      const body = readShare(message);
      return { kind: "share", message, body, link: body };
    }
    case "THSM_KEY": {
      const body = readKeyEvent(message);
      if (body === undefined) return unknown(message, sender);
      return { kind: "key", message, body, link: "node" in body ? body : undefined };
    }
    case "THSM_AUDIT": {
      const body = readAuditEvent(message);
      if (body === undefined) return unknown(message, sender);
      return { kind: "audit", message, body, link: "node" in body ? body : undefined };
    }
  }
}

/** A node's events of later versions have their place in its chain all the same. */
function unknown(message: StoredMessage, sender: Member): Admitted {
  const plain = parseJson(message.payload);
  const fields = new Map<string, unknown>(Object.entries(plain ?? {}));
  const n = fields.get("n");
  const prev = fields.get("prev");
  const isLinked =
    sender.role === "node" &&
    typeof n === "number" &&
    Number.isSafeInteger(n) &&
    typeof prev === "string";
  return {
    kind: "unknown",
    message,
    body: undefined,
    link: isLinked ? { node: sender.name, n, prev } : undefined,
  };
}

function requireSender(sender: Member, { kind, message, body }: Admitted): void {
  const named = kind === "unknown" ? namedBySubject(message.subject) : namedByBody(body);
  if (named !== undefined && (named.role !== sender.role || named.name !== sender.name)) {
    throw new HsmError(
      "ERR_UNKNOWN_SENDER",
      `message of ${named.role} ${named.name} is signed by ${sender.role} ${sender.name}`,
    );
  }
}

function namedByBody(body: object | undefined): Pick<Member, "role" | "name"> | undefined {
  const fields = new Map<string, unknown>(Object.entries(body ?? {}));
  // A share names the client too, whom it answers.
  const role = fields.has("node") ? "node" : "client";
  return { role, name: String(fields.get(role)) };
}

function namedBySubject(text: string): Pick<Member, "role" | "name"> | undefined {
  const subject = parseSubject(text);
  if (subject.kind === "node-audit") return { role: "node", name: subject.node };
  if (subject.kind === "client-audit") return { role: "client", name: subject.client };
  if (subject.kind === "operator-audit") return { role: "operator", name: subject.operator };
  return undefined;
}

function codeOf(error: HsmError): FindingCode {
  if (error.code === "ERR_INVALID_SIGNATURE") return "AUDIT_BAD_SIGNATURE";
  return error.code === "ERR_UNKNOWN_SENDER" ? "AUDIT_UNKNOWN_SENDER" : "AUDIT_BAD_MESSAGE";
}
