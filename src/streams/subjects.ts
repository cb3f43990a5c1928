/**
 * @module Subjects: where each message goes, built and parsed in one place. A subject is routing
 * and a first filter; who sent a message is decided by its signature alone.
 */
import { HsmError } from "../errors.js";
import { memberName } from "../identity/names.js";

const root = "thsm.v1";

/** The streams, by what they hold. */
export const streamNames = {
  requests: "THSM_REQ",
  shares: "THSM_SHARE",
  audit: "THSM_AUDIT",
  keys: "THSM_KEY",
  deals: "THSM_DEAL",
} as const;
export type StreamName = (typeof streamNames)[keyof typeof streamNames];

/** What a subject says, with its routing fields. */
export type Subject =
  | { kind: "request"; client: string; session: string; rid: string }
  | { kind: "share"; node: string; client: string; session: string; rid: string }
  | { kind: "client-audit"; client: string; session: string }
  | { kind: "node-audit"; node: string }
  /** Of its own, so that the newest checkpoint can be asked for. */
  | { kind: "node-checkpoint"; node: string }
  | { kind: "operator-audit"; operator: string }
  /** What a client says of a node, and an operator's word that this is settled. */
  | { kind: "blame"; client: string; node: string }
  | { kind: "clear"; operator: string; node: string }
  | { kind: "key"; key: string }
  | { kind: "object"; client: string; token: string; object: string }
  | { kind: "deal"; node: string; key: string }
  | { kind: "beat"; node: string };

/** The text of a subject. Tokens must have been validated: a wrong one is a programming error. */
export function formatSubject(subject: Subject): string {
  switch (subject.kind) {
    case "request":
      return join("req", subject.client, subject.session, subject.rid);
    case "share":
      return join("share", subject.node, subject.client, subject.session, subject.rid);
    case "client-audit":
      return join("audit.client", subject.client, subject.session);
    case "node-audit":
      return join("audit.node", subject.node);
    case "node-checkpoint":
      return join("audit.node", subject.node, "checkpoint");
    case "operator-audit":
      return join("audit.operator", subject.operator);
    case "blame":
      return join("audit.blame", subject.client, subject.node);
    case "clear":
      return join("audit.operator", subject.operator, subject.node);
    case "key":
      return join("key", subject.key);
    case "object":
      return join("key.object", subject.client, subject.token, subject.object);
    case "deal":
      return join("deal", subject.node, subject.key);
    case "beat":
      return join("beat", subject.node);
  }
}

/** @throws HsmError `ERR_INVALID_MESSAGE` for a subject that is not one of ours. */
export function parseSubject(text: string): Subject {
  const tokens = text.split(".");
  const [thsm, v1, kind, a = "", b = "", c = "", d = ""] = tokens;
  const known =
    `${thsm}.${v1}` === root && tokens.slice(3).every((token) => memberName.test(token));
  if (known) {
    if (kind === "req" && tokens.length === 6) {
      return { kind: "request", client: a, session: b, rid: c };
    }
    if (kind === "share" && tokens.length === 7) {
      return { kind: "share", node: a, client: b, session: c, rid: d };
    }
    if (kind === "audit" && a === "client" && tokens.length === 6) {
      return { kind: "client-audit", client: b, session: c };
    }
    if (kind === "audit" && a === "node" && tokens.length === 5) {
      return { kind: "node-audit", node: b };
    }
    if (kind === "audit" && a === "node" && c === "checkpoint" && tokens.length === 6) {
      return { kind: "node-checkpoint", node: b };
    }
    if (kind === "audit" && a === "operator" && tokens.length === 5) {
      return { kind: "operator-audit", operator: b };
    }
    if (kind === "audit" && a === "operator" && tokens.length === 6) {
      return { kind: "clear", operator: b, node: c };
    }
    if (kind === "audit" && a === "blame" && tokens.length === 6) {
      return { kind: "blame", client: b, node: c };
    }
    if (kind === "key" && tokens.length === 4) return { kind: "key", key: a };
    if (kind === "key" && a === "object" && tokens.length === 7) {
      return { kind: "object", client: b, token: c, object: d };
    }
    if (kind === "deal" && tokens.length === 5) return { kind: "deal", node: a, key: b };
    if (kind === "beat" && tokens.length === 4) return { kind: "beat", node: a };
  }
  throw new HsmError("ERR_INVALID_MESSAGE", `no message has the subject ${JSON.stringify(text)}`);
}

/** Every request, key event, …: what a stream captures. */
export const allRequests = "thsm.v1.req.>";
export const allShares = "thsm.v1.share.>";
export const allAudit = "thsm.v1.audit.>";
export const allKeys = "thsm.v1.key.>";
export const allDeals = "thsm.v1.deal.>";
export const allBeats = "thsm.v1.beat.*";
/** What says whom to avoid: `blame` and `clear`. */
export const allBlames = "thsm.v1.audit.blame.*.*";
export const allClears = "thsm.v1.audit.operator.*.*";

/** What one client reads of the shares, and one node of the dealings. */
export function sharesTo(client: string): string {
  return join("share.*", client, ">");
}
export function dealsTo(node: string): string {
  return join("deal", node, ">");
}

/** The subject on which the server repeats a message once it is stored. */
export function storedSubject(subject: string): string {
  return `${root}.stored.${subject.slice(root.length + 1)}`;
}

function join(...tokens: readonly string[]): string {
  return [root, ...tokens].join(".");
}
