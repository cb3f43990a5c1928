/** @module What clients say of nodes, as far as the messages that they show prove it; and what operators cleared. */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import type { Misbehaviour, NodeCleared } from "../../streams/audit-events.js";
import { unpack } from "../../streams/carried.js";
import type { SignedMessage } from "../../streams/envelope.js";
import { readShare, verifySender } from "../../streams/open.js";
import { streamNames } from "../../streams/subjects.js";
import type { Read } from "./admit.js";
import { weigh } from "./evidence.js";
import type { FindingCode, Report } from "./findings.js";

export class Blames {
  readonly #cluster: Cluster;
  readonly #report: Report;
  /** `node request-hash` of answers that nodes signed, whether a stream has them or not. */
  readonly #answers = new Set<string>();
  /** Node → the newest entry that proves it guilty, and those that cleared it. */
  readonly #proven = new Map<string, number>();
  readonly #cleared = new Map<string, number[]>();

  constructor(cluster: Cluster, report: Report) {
    this.#cluster = cluster;
    this.#report = report;
  }

  add({ message, body }: Read<Misbehaviour | NodeCleared>): void {
    const tell = (code: FindingCode, text: string, client?: string): void =>
      this.#report({
        code,
        stream: streamNames.audit,
        seq: [message.seq],
        node: body.node,
        ...(client === undefined ? {} : { client }),
        text,
      });
    if (body.type === "node-cleared") {
      this.#cleared.set(body.node, [...(this.#cleared.get(body.node) ?? []), message.seq]);
      const why = body.reason === undefined ? "" : `: ${body.reason}`;
      tell(
        "AUDIT_NODE_CLEARED",
        `operator ${body.operator} cleared node ${body.node} at ${body.time}${why}`,
      );
      return;
    }
    const { client, node, verdict, code, text, time } = body;
    const messages = messagesOf(body);
    this.#remember(node, messages);
    const said = `client ${client} at ${time} on ${code}: ${text}`;
    // What is taken back was reported as what it was, a suspicion.
    if (verdict === "withdrawn") return;
    if (verdict === "suspect") {
      tell("AUDIT_NODE_SUSPECT", `node ${node} is suspected by ${said}`, client);
      return;
    }
    const { guilt, text: proven } = weigh(this.#cluster, node, messages);
    if (guilt !== undefined) {
      this.#proven.set(node, message.seq);
      tell("AUDIT_NODE_CULPRIT", `${proven} (proven by ${said})`, client);
    }
    // Too large a proof stays in the streams, and the audit finds there what it is about.
    else if (body.messages === undefined) {
      tell(
        "AUDIT_NODE_SUSPECT",
        `node ${node} is called a culprit without evidence by ${said}`,
        client,
      );
    } else
      tell(
        "AUDIT_FALSE_BLAME",
        `node ${node} is called a culprit by ${said}; but ${proven}`,
        client,
      );
  }

  /** Whether messages that some client shows prove the node guilty, and no operator settled that before this entry. */
  isProven(node: string, seq: number): boolean {
    const settled = (this.#cleared.get(node) ?? []).filter((one) => one < seq);
    return (this.#proven.get(node) ?? 0) > Math.max(0, ...settled);
  }

  /** Whether the node is shown to have signed shares for the request with this message hash. */
  answered(node: string, request: string): boolean {
    return this.#answers.has(`${node} ${request}`);
  }

  #remember(node: string, messages: readonly SignedMessage[]): void {
    for (const message of messages) {
      if (message.stream !== streamNames.shares) continue;
      try {
        const body = readShare(message);
        verifySender(this.#cluster, message, body, "node");
        if (body.node === node && body.shares !== undefined) {
          this.#answers.add(`${node} ${body.request}`);
        }
      } catch (error) {
        if (!(error instanceof HsmError)) throw error;
      }
    }
  }
}

/** What the event carries, without what is no message. */
export function messagesOf({ messages = [] }: Misbehaviour): SignedMessage[] {
  return messages.flatMap((one) => {
    try {
      return [unpack(one)];
    } catch (error) {
      if (error instanceof HsmError) return [];
      throw error;
    }
  });
}
