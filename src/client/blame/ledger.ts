/**
 * @module What THSM_AUDIT says of the nodes: each client's newest word on each node, and each operator's. The
 * order of the stream decides which of both counts. Nobody is believed: a culprit is who is proven one.
 */
import type { Cluster } from "../../identity/cluster.js";
import type { BlameVerdict, Misbehaviour } from "../../streams/audit-events.js";
import type { StoredMessage } from "../../streams/envelope.js";
import { readAuditEvent, verifySender } from "../../streams/open.js";
import type { StreamReader } from "../../streams/read.js";
import { formatSubject, streamNames } from "../../streams/subjects.js";
import { messagesOf } from "../audit/blames.js";
import { weigh } from "../audit/evidence.js";

/** What holds against a node. */
export interface Standing {
  readonly node: string;
  readonly verdict: Exclude<BlameVerdict, "withdrawn">;
  readonly body: Misbehaviour;
  /** Entry of THSM_AUDIT. */
  readonly seq: number;
}

/** How long evidence of one who has shown some is left alone; doubles each time that it proves nothing. */
const firstRestMs = 60_000;
const mostRestMs = 3_600_000;

type Withdrawn = Omit<Standing, "verdict"> & { readonly verdict: "withdrawn" };

export class Ledger {
  readonly #cluster: Cluster;
  readonly #now: () => number;
  /** By `client node`: proofs cost time on the thread that signs, and nobody may take all of it. */
  readonly #rests = new Map<string, { ms: number; untilMs: number }>();
  /** By `client node`. */
  readonly #blames = new Map<string, Standing | Withdrawn>();
  /** Node → entry of the newest word of an operator. */
  readonly #cleared = new Map<string, number>();

  constructor(cluster: Cluster, now: () => number = Date.now) {
    this.#cluster = cluster;
    this.#now = now;
  }

  /**
   * Takes a message of a `blame` or `clear` subject; returns its node. What is ours is taken at once.
   * @throws HsmError for a message that is not its sender's, or malformed
   */
  apply(message: StoredMessage, isOurs = false): string | undefined {
    const body = readAuditEvent(message);
    const { seq } = message;
    if (body?.type === "misbehaviour") {
      verifySender(this.#cluster, message, body, "client");
      const name = `${body.client} ${body.node}`;
      const known = this.#blames.get(name);
      if (known !== undefined && known.seq >= seq) return undefined;
      // It is read again later.
      if (body.messages !== undefined && !isOurs && this.#isResting(name)) return undefined;
      this.#blames.set(name, { node: body.node, verdict: this.#judge(name, body), body, seq });
      return body.node;
    }
    if (body?.type === "node-cleared") {
      verifySender(this.#cluster, message, body, "operator");
      this.#cleared.set(body.node, Math.max(seq, this.#cleared.get(body.node) ?? 0));
      return body.node;
    }
    return undefined;
  }

  /** What holds against the node, what is proven first. */
  of(node: string): Standing[] {
    const cleared = this.#cleared.get(node) ?? 0;
    return [...this.#blames.values()]
      .flatMap((one) => (one.verdict === "withdrawn" ? [] : [one]))
      .filter((one) => one.node === node && one.seq > cleared)
      .toSorted((a, b) => (a.verdict < b.verdict ? -1 : a.verdict > b.verdict ? 1 : b.seq - a.seq));
  }

  #isResting(name: string): boolean {
    return (this.#rests.get(name)?.untilMs ?? 0) > this.#now();
  }

  #judge(name: string, body: Misbehaviour): BlameVerdict {
    if (body.verdict !== "culprit") return body.verdict;
    const { guilt } = weigh(this.#cluster, body.node, messagesOf(body));
    if (body.messages !== undefined) {
      const before = guilt === undefined ? this.#rests.get(name)?.ms : undefined;
      const ms = before === undefined ? firstRestMs : Math.min(mostRestMs, 2 * before);
      this.#rests.set(name, { ms, untilMs: this.#now() + ms });
    }
    return guilt === undefined ? "suspect" : "culprit";
  }
}

/**
 * The newest word of everybody on everybody: a direct get each, side by side. Returns the subjects of
 * messages that are nobody's word.
 */
export async function readLedger(
  ledger: Ledger,
  cluster: Cluster,
  reader: StreamReader,
): Promise<string[]> {
  const of = (role: string): string[] =>
    cluster.members.filter((one) => one.role === role).map(({ name }) => name);
  const subjects = of("node").flatMap((node) => [
    ...of("client").map((client) => formatSubject({ kind: "blame", client, node })),
    ...of("operator").map((operator) => formatSubject({ kind: "clear", operator, node })),
  ]);
  const junk: string[] = [];
  await Promise.all(
    subjects.map(async (subject) => {
      const entry = await reader.lastEntry(streamNames.audit, subject);
      if (entry === undefined) return;
      try {
        if ("junk" in entry) throw entry.junk;
        ledger.apply(entry.message);
      } catch {
        junk.push(subject);
      }
    }),
  );
  return junk;
}
