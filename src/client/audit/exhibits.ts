/**
 * @module The messages of a proof against a node, each verified to be its sender's and in its place: what they
 * say of links, requests, answers and the key.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { fromBase64url } from "../../identity/encoding.js";
import { parseGroupKey, type GroupKey } from "../../scheme/index.js";
import type { AuditEvent } from "../../streams/audit-events.js";
import type { SignedMessage } from "../../streams/envelope.js";
import type { KeyRecord } from "../../streams/key-life.js";
import { KeyLives } from "../../streams/key-lives.js";
import type { KeyEvent, KeyProposed } from "../../streams/keys.js";
import {
  readAuditEvent,
  readKeyEvent,
  readRequest,
  readShare,
  verifySender,
} from "../../streams/open.js";
import { SignRequest } from "../../streams/requests.js";
import { ShareMessage } from "../../streams/shares.js";
import { streamNames } from "../../streams/subjects.js";

export interface Looked {
  readonly stream: string;
  readonly subject: string;
  readonly hash: string;
  readonly by: string;
  readonly time: string | undefined;
}

/** A share answer, with the request that it is bound to. */
export interface Answer {
  readonly hash: string;
  readonly body: ShareMessage;
  readonly request: SignRequest;
}

/** A message's place in its node's chain. */
export interface Link {
  readonly hash: string;
  readonly n: number;
  readonly prev: string;
}

/** Everything that the messages say, each verified to be its sender's. */
export class Exhibits {
  readonly links: Link[] = [];
  readonly looked: Looked[] = [];
  readonly #lives: KeyLives;
  readonly #requests = new Map<string, SignRequest>();
  readonly #shares: { hash: string; body: ShareMessage }[] = [];

  /** @throws HsmError for a message that is not its sender's, or out of place */
  constructor(cluster: Cluster, node: string, messages: readonly SignedMessage[]) {
    this.#lives = new KeyLives(cluster);
    for (const [index, message] of messages.entries()) this.#take(cluster, node, message, index);
  }

  #take(cluster: Cluster, node: string, message: SignedMessage, index: number): void {
    const { stream, subject, hash } = message;
    const body = read(message);
    const role = roleOf(body);
    const { name } = verifySender(cluster, message, body, role);
    this.looked.push({ stream, subject, hash, by: `${role} ${name}`, time: timeOf(body) });
    if ("prev" in body && "node" in body && body.node === node)
      this.links.push({ hash, n: body.n, prev: body.prev });
    if (stream === streamNames.keys) this.#lives.apply({ ...message, seq: index + 1, time: "" });
    if (body instanceof SignRequest) this.#requests.set(hash, body);
    if (body instanceof ShareMessage) this.#shares.push({ hash, body });
  }

  /** The key that the shares are of, as the node accepted it. @throws HsmError without that */
  key(node: string): { record: KeyRecord; group: GroupKey } {
    const [record] = this.#lives.all();
    const party = record === undefined ? 0 : record.proposal.parties.indexOf(node) + 1;
    if (record === undefined || !record.accepted.has(party)) {
      throw unfit(`there is no record of a key that node ${node} accepted`);
    }
    return { record, group: groupOf(record.proposal) };
  }

  /** Every share answer, with the request that it is bound to. @throws HsmError */
  answers({ keyId, proposal }: KeyRecord): Answer[] {
    return this.#shares.flatMap(({ hash, body }) => {
      if (body.shares === undefined) return [];
      const request = this.#requests.get(body.request);
      const fits =
        request !== undefined &&
        request.rid === body.rid &&
        request.client === body.client &&
        request.session === body.session &&
        [request.key, body.key].every((key) => key === keyId) &&
        [request.epoch, body.epoch].every((epoch) => epoch === proposal.epoch) &&
        proposal.parties[body.party - 1] === body.node;
      if (!fits)
        throw unfit(`the answer ${hash} does not belong to a request and the key that are here`);
      return [{ hash, body, request }];
    });
  }
}

type Body = SignRequest | ShareMessage | KeyEvent | AuditEvent;

function read(message: SignedMessage): Body {
  const { stream } = message;
  if (stream === streamNames.requests) return readRequest(message);
  if (stream === streamNames.shares) return readShare(message);
  if (stream === streamNames.keys) return readKeyEvent(message) ?? unknownEvent();
  if (stream === streamNames.audit) return readAuditEvent(message) ?? unknownEvent();
  throw unfit("there is a message that no stream keeps");
}

function unknownEvent(): never {
  throw unfit("there is an event of a type that this version does not know");
}

function roleOf(body: Body): "node" | "client" | "operator" {
  if ("operator" in body) return "operator";
  const isOfNode = "node" in body && "prev" in body;
  return isOfNode ? "node" : "client";
}

function timeOf(body: Body): string | undefined {
  return "time" in body ? body.time : undefined;
}

function groupOf(proposal: KeyProposed): GroupKey {
  return parseGroupKey({
    modulus: bytes(proposal.modulus),
    publicExponent: bytes(proposal.publicExponent),
    threshold: proposal.threshold,
    parties: proposal.parties.length,
    verificationBase: bytes(proposal.verificationBase),
    verificationKeys: proposal.verificationKeys.map(bytes),
  });
}

function bytes(text: string): Uint8Array {
  return fromBase64url(text, "number");
}

export function unfit(text: string): HsmError {
  return new HsmError("ERR_INVALID_MESSAGE", text);
}
