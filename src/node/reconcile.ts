/**
 * @module Journal against streams. A broker whose machine lost power may have lost messages that it
 * had acknowledged: it gets them again. A stream that remembers more than the journal, or something
 * else, means that this node would contradict itself: it must not go on.
 */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { verifyMessage, type SignedMessage } from "../streams/envelope.js";
import type { StreamReader } from "../streams/read.js";
import { streamNames, type StreamName } from "../streams/subjects.js";
import { parseJson } from "../validate.js";
import type { Journal } from "./journal.js";
import { damaged, type JournalEntry } from "./journal-segments.js";
import type { Outbox } from "./outbox.js";

/** Brokers sync their files every two minutes at the latest; what is older than this is safe. */
const lossWindowMs = 600_000;

export interface ReconcileOptions {
  readonly node: string;
  readonly cluster: Cluster;
  readonly reader: StreamReader;
  readonly journal: Journal;
  readonly outbox: Outbox;
  /** This node's newest message on THSM_KEY, as the replay has found it. */
  readonly lastKeyEvent: SignedMessage | undefined;
}

/**
 * Publishes again what a stream has lost, and returns it.
 * @throws HsmError `ERR_JOURNAL` when a stream and the journal contradict each other, and what
 * reading throws
 */
export async function reconcile(options: ReconcileOptions): Promise<readonly JournalEntry[]> {
  const { node, cluster, reader, journal, outbox } = options;
  const newest: [StreamName, SignedMessage | undefined][] = [
    [streamNames.shares, await reader.last(streamNames.shares, `thsm.v1.share.${node}.>`)],
    [streamNames.audit, await reader.last(streamNames.audit, `thsm.v1.audit.node.${node}`)],
    [streamNames.audit, await reader.last(streamNames.audit, `thsm.v1.audit.node.${node}.>`)],
    [streamNames.keys, options.lastKeyEvent],
  ];
  const last = journal.last;
  const heads = newest.map(([stream, message]) => {
    // Whatever a stranger has put on this node's subject says nothing about what is lost.
    const own = message !== undefined && isOwn(cluster, node, message) ? message : undefined;
    return { stream, hash: own?.hash, n: own === undefined ? 0 : numberOf(own) };
  });
  const since = new Date(Date.parse(last?.time ?? "") - lossWindowMs || 0).toISOString();
  const entries = await journal.since(Math.min(...heads.map(({ n }) => n)), since);
  for (const { stream, n, hash } of heads) {
    if (n > (last?.n ?? 0)) {
      throw damaged(
        stream,
        `it has message ${n} of this node, the journal ends at ${last?.n ?? 0}`,
      );
    }
    const same = entries.find((entry) => entry.n === n);
    if (same !== undefined && same.message.hash !== hash) {
      throw damaged(stream, `it has another message ${n} of this node than the journal`);
    }
  }
  const lost = entries.filter(({ n, message }) => {
    const ofStream = heads.filter(({ stream }) => stream === message.stream);
    return n > Math.max(...ofStream.map((head) => head.n)) && n <= outbox.published;
  });
  for (const entry of lost) void outbox.publish(entry);
  return lost;
}

function isOwn(cluster: Cluster, node: string, message: SignedMessage): boolean {
  try {
    const { role, name } = verifyMessage(cluster, message);
    return role === "node" && name === node;
  } catch (error) {
    if (error instanceof HsmError) return false;
    throw error;
  }
}

function numberOf(message: SignedMessage): number {
  const body = parseJson(message.payload);
  const n = typeof body === "object" && body !== null && "n" in body ? body.n : undefined;
  return typeof n === "number" && Number.isSafeInteger(n) ? n : 0;
}
