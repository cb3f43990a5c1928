/**
 * @module What may be let go of the streams once it is exported. THSM_KEY is kept whole.
 */
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { readAuditEvent } from "../../streams/open.js";
import { nodeConsumer } from "../../streams/settings.js";
import type { HistorySource, KeptStream } from "./sources.js";

/** The streams that grow with every signature. */
export const rotatedStreams = ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT"] as const;
export type RotatedStream = (typeof rotatedStreams)[number];

export interface KeepOptions {
  /** What is younger than the newest exported entry by less than this stays. */
  readonly keepMs: number;
  /** So many of the newest exported entries stay, however old. */
  readonly keepMessages: number;
  /** Nodes that never come back: requests that they have not seen need not wait for them. */
  readonly without?: readonly string[];
}

/** What is let go of a stream: entries up to `upTo`, 0 for none. */
export interface Cut {
  readonly stream: RotatedStream;
  readonly upTo: number;
  /** The last entry that the export has. */
  readonly exported: number;
  /** Why not more. */
  readonly heldBy: string;
}

/**
 * What may go: nothing that the export lacks, that a node has not seen, or that tells of a node that nobody has
 * cleared. `connection`: the provisioner's.
 * @throws HsmError `ERR_BROKER`
 */
export async function planCuts(
  exported: HistorySource,
  cluster: Cluster,
  connection: NatsConnection,
  options: KeepOptions,
): Promise<Cut[]> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
  const ends: { stream: RotatedStream; old: number; last: number }[] = [];
  let newestMs = 0;
  for (const stream of rotatedStreams)
    newestMs = Math.max(newestMs, await newestOf(exported, stream));
  for (const stream of rotatedStreams) {
    const { last } = (await exported.bounds())[stream];
    ends.push({ stream, last, old: await oldUntil(exported, stream, newestMs - options.keepMs) });
  }
  const cuts: Cut[] = [];
  for (const { stream, old, last } of ends) {
    const limits: [upTo: number, heldBy: string][] = [
      [old, "its age"],
      [last - options.keepMessages, `the newest ${options.keepMessages}`],
    ];
    if (stream === "THSM_REQ") {
      for (const { name, role } of cluster.members) {
        if (role !== "node" || options.without?.includes(name) === true) continue;
        limits.push([await ackedBy(manager, name), `node ${name}, which has not seen more`]);
      }
    }
    if (stream === "THSM_AUDIT") {
      for (const [node, seq] of await openBlames(exported)) {
        limits.push([seq - 1, `node ${node}, which is blamed and not cleared`]);
      }
    }
    const [least] = limits.toSorted(([one], [other]) => one - other);
    const [upTo = 0, heldBy = ""] = least ?? [];
    cuts.push({ stream, upTo: Math.max(0, upTo), exported: last, heldBy });
  }
  return cuts;
}

async function newestOf(source: HistorySource, stream: KeptStream): Promise<number> {
  const { last } = (await source.bounds())[stream];
  let newestMs = 0;
  for await (const entry of source.entries(stream, last)) {
    if ("message" in entry) newestMs = Date.parse(entry.message.time) || 0;
  }
  return newestMs;
}

/** The last entry before the first one that is younger. */
async function oldUntil(source: HistorySource, stream: KeptStream, ms: number): Promise<number> {
  let until = 0;
  for await (const entry of source.entries(stream)) {
    const at = "message" in entry ? Date.parse(entry.message.time) : 0;
    if (!(at <= ms)) return until;
    until = entry.seq;
  }
  return until;
}

async function ackedBy(manager: JetStreamManager, node: string): Promise<number> {
  try {
    const info = await manager.consumers.info("THSM_REQ", nodeConsumer(node));
    return info.ack_floor.stream_seq;
  } catch (cause) {
    const text = `cannot see what node ${node} has read: ${describeError(cause)}`;
    throw new HsmError("ERR_BROKER", text, { cause });
  }
}

/** Node → the first entry that blames it and was not followed by its clearing. */
async function openBlames(source: HistorySource): Promise<Map<string, number>> {
  const blamed = new Map<string, number>();
  for await (const entry of source.entries("THSM_AUDIT")) {
    if (!("message" in entry)) continue;
    try {
      const body = readAuditEvent(entry.message);
      if (body?.type === "node-cleared") blamed.delete(body.node);
      if (body?.type === "misbehaviour" && !blamed.has(body.node)) blamed.set(body.node, entry.seq);
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
    }
  }
  return blamed;
}
