/**
 * @module From an entry of a stream to a message that its sender answers for: signature, shape,
 * agreement of payload and subject, and the sender's right to it. The signature is the dear part: it is
 * verified between `open` and `admit`, by another thread if there is one.
 */
import { HsmError } from "../../errors.js";
import type { Cluster, Member } from "../../identity/cluster.js";
import type { AuditEvent } from "../../streams/audit-events.js";
import {
  notSigned,
  signatureClaim,
  type SignatureClaim,
  type StoredMessage,
} from "../../streams/envelope.js";
import type { KeyEvent } from "../../streams/keys.js";
import type { TokenObjectEvent } from "../../streams/objects.js";
import {
  readAuditEvent,
  readKeyEvent,
  readObjectEvent,
  readRequest,
  readShare,
} from "../../streams/open.js";
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

/** Whose chain: one for a node, one for each session of a client. */
export interface ChainOwner {
  /** As findings tell it; no two owners have the same. */
  readonly name: string;
  readonly whose: { readonly node: string } | { readonly client: string };
}

/** A message's place in a hash chain. */
export interface ChainLink {
  readonly owner: ChainOwner;
  readonly n: number;
  readonly prev: string;
}

export type Admitted = { readonly link: ChainLink | undefined } & (
  | ({ readonly kind: "request" } & Read<SignRequest>)
  | ({ readonly kind: "share" } & Read<ShareMessage>)
  | ({ readonly kind: "key" } & Read<KeyEvent>)
  | ({ readonly kind: "object" } & Read<TokenObjectEvent>)
  | ({ readonly kind: "audit" } & Read<AuditEvent>)
  | ({ readonly kind: "unknown" } & Read<undefined>)
);

/** An entry with all that can be said of it before its signature is verified. */
export interface Opened {
  readonly stream: KeptStream;
  readonly entry: Entry;
  /** Who says to have signed it; undefined for what nobody can have. */
  readonly claim: SignatureClaim | undefined;
  readonly admitted: Admitted | undefined;
  /** Why it is not admitted, whatever the signature. */
  readonly obstacle: HsmError | undefined;
}

export function open(cluster: Cluster, stream: KeptStream, entry: Entry): Opened {
  let claim: SignatureClaim | undefined;
  try {
    if ("junk" in entry) throw entry.junk;
    claim = signatureClaim(cluster, entry.message);
    const admitted = read(stream, entry.message, claim.member);
    requireSender(claim.member, admitted);
    return { stream, entry, claim, admitted, obstacle: undefined };
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
    return { stream, entry, claim, admitted: undefined, obstacle: error };
  }
}

/** The admitted message; undefined, and a finding, for an entry that nobody answers for. */
export function admit(
  { stream, entry, claim, admitted, obstacle }: Opened,
  isSigned: boolean,
  report: Report,
): Admitted | undefined {
  const isForged = claim !== undefined && !isSigned && "message" in entry;
  const wrong = isForged ? notSigned(entry.message, claim.member) : obstacle;
  if (wrong !== undefined) {
    const where = "message" in entry ? `stored at ${entry.message.time}` : "no message of ours";
    report({
      code: codeOf(wrong),
      stream,
      seq: [entry.seq],
      text: `entry ${entry.seq} of ${stream}, ${where}: ${wrong.message}`,
    });
    return undefined;
  }
  if (admitted?.kind === "unknown") {
    const { subject, time } = admitted.message;
    report({
      code: "AUDIT_UNKNOWN_EVENT",
      stream,
      seq: [entry.seq],
      text: `${claim?.member.role} ${claim?.member.name} stored an event of a type that this version does not know, on ${subject} at ${time}`,
    });
  }
  return admitted;
}

function read(stream: KeptStream, message: StoredMessage, sender: Member): Admitted {
  switch (stream) {
    case "THSM_REQ":
      return { kind: "request", message, body: readRequest(message), link: undefined };
    case "THSM_SHARE": {
      const body = readShare(message);
      return { kind: "share", message, body, link: linkOf(body) };
    }
    case "THSM_KEY": {
      if (parseSubject(message.subject).kind === "object") {
        const object = readObjectEvent(message);
        if (object === undefined) return unknown(message, sender);
        return { kind: "object", message, body: object, link: undefined };
      }
      const body = readKeyEvent(message);
      if (body === undefined) return unknown(message, sender);
      return { kind: "key", message, body, link: "node" in body ? linkOf(body) : undefined };
    }
    case "THSM_AUDIT": {
      const body = readAuditEvent(message);
      if (body === undefined) return unknown(message, sender);
      return { kind: "audit", message, body, link: "n" in body ? linkOf(body) : undefined };
    }
  }
}

type Chained = { readonly n: number; readonly prev: string } & (
  { readonly node: string } | { readonly client: string; readonly session: string }
);

function linkOf(body: Chained): ChainLink {
  const { n, prev } = body;
  // An answer names client and session too, whom it answers.
  if ("node" in body) {
    const { node } = body;
    return { owner: { name: `node ${node}`, whose: { node } }, n, prev };
  }
  const { client, session } = body;
  return { owner: { name: `client ${client} in session ${session}`, whose: { client } }, n, prev };
}

/** Events of later versions have their place in their chain all the same. */
function unknown(message: StoredMessage, sender: Member): Admitted {
  const plain = parseJson(message.payload);
  const fields = new Map<string, unknown>(Object.entries(plain ?? {}));
  const n = fields.get("n");
  const prev = fields.get("prev");
  const subject = parseSubject(message.subject);
  const owner =
    sender.role === "node"
      ? { node: sender.name }
      : subject.kind === "client-audit"
        ? { client: subject.client, session: subject.session }
        : undefined;
  const isLinked =
    owner !== undefined &&
    typeof n === "number" &&
    Number.isSafeInteger(n) &&
    typeof prev === "string";
  return {
    kind: "unknown",
    message,
    body: undefined,
    link: isLinked ? linkOf({ ...owner, n, prev }) : undefined,
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

function namedByBody(body: object = {}): Pick<Member, "role" | "name"> {
  // A share names the client too, whom it answers; a blame and its settlement name the node.
  const isNode = Object.hasOwn(body, "node") && Reflect.get(body, "type") !== "misbehaviour";
  const role = Object.hasOwn(body, "operator") ? "operator" : isNode ? "node" : "client";
  return { role, name: String(Reflect.get(body, role)) };
}

function namedBySubject(text: string): Pick<Member, "role" | "name"> | undefined {
  const subject = parseSubject(text);
  if (subject.kind === "node-audit" || subject.kind === "node-checkpoint")
    return { role: "node", name: subject.node };
  if (subject.kind === "client-audit") return { role: "client", name: subject.client };
  if (subject.kind === "operator-audit" || subject.kind === "clear") {
    return { role: "operator", name: subject.operator };
  }
  if (subject.kind === "blame") return { role: "client", name: subject.client };
  return undefined;
}

function codeOf(error: HsmError): FindingCode {
  if (error.code === "ERR_INVALID_SIGNATURE") return "AUDIT_BAD_SIGNATURE";
  return error.code === "ERR_UNKNOWN_SENDER" ? "AUDIT_UNKNOWN_SENDER" : "AUDIT_BAD_MESSAGE";
}
