/**
 * @module Where a history comes from: the streams themselves, read with an auditor's credentials, or
 * (`ndjson.ts`) a directory that was exported from them.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { StreamReader, type Entry } from "../../streams/read.js";
import { allAudit, allKeys, allRequests, allShares, streamNames } from "../../streams/subjects.js";

/** The streams that keep history. THSM_DEAL does not: its messages are gone once acknowledged. */
export const keptStreams = ["THSM_KEY", "THSM_REQ", "THSM_SHARE", "THSM_AUDIT"] as const;
export type KeptStream = (typeof keptStreams)[number];

/** One value for each kept stream. */
export function byStream<T>(of: (stream: KeptStream) => T): Record<KeptStream, T> {
  return {
    THSM_KEY: of("THSM_KEY"),
    THSM_REQ: of("THSM_REQ"),
    THSM_SHARE: of("THSM_SHARE"),
    THSM_AUDIT: of("THSM_AUDIT"),
  };
}

/** What of a stream is looked at. All three are the server's word. */
export interface StreamBounds {
  readonly first: number;
  /**
   * Whatever a message up to here relies on was stored before the audit looked at `last` of the
   * other streams. Beyond it, something missing may just not have been stored yet.
   */
  readonly settled: number;
  readonly last: number;
}

export type HistoryBounds = Readonly<Record<KeptStream, StreamBounds>>;

/** A recorded history. */
export interface HistorySource {
  /** What `entries` will yield; the same on every call. */
  bounds(): Promise<HistoryBounds>;
  /** The stream's entries in order of storage, from number `from` on, unverified. Missing ones are left out. */
  entries(stream: KeptStream, from?: number): AsyncIterable<Entry>;
}

/** What each stream captures. */
export const filters: Readonly<Record<KeptStream, string>> = {
  [streamNames.keys]: allKeys,
  [streamNames.requests]: allRequests,
  [streamNames.shares]: allShares,
  [streamNames.audit]: allAudit,
};

/** The history that the servers hold now; what is stored later is left to the next audit. */
export function liveHistory(connection: NatsConnection): HistorySource {
  const reader = new StreamReader(connection);
  let found: Promise<HistoryBounds> | undefined;
  const bounds = (): Promise<HistoryBounds> => (found ??= findBounds(connection, reader));
  return {
    bounds,
    async *entries(stream, from = 1) {
      const { first, last } = (await bounds())[stream];
      yield* reader.replay(stream, Math.max(first, from), last);
    },
  };
}

async function findBounds(
  connection: NatsConnection,
  reader: StreamReader,
): Promise<HistoryBounds> {
  // One look at all streams, and then another: what any message of the first look relies on was
  // stored before it, so the second one includes it.
  const settled = await look(connection, reader);
  const last = await look(connection, reader);
  const of = (stream: KeptStream): StreamBounds => ({
    first: last[stream].first,
    settled: settled[stream].last,
    last: last[stream].last,
  });
  return byStream(of);
}

type Ends = Record<KeptStream, { first: number; last: number }>;

async function look(connection: NatsConnection, reader: StreamReader): Promise<Ends> {
  const of = (stream: KeptStream) => endsOf(connection, reader, stream);
  return {
    THSM_KEY: await of("THSM_KEY"),
    THSM_REQ: await of("THSM_REQ"),
    THSM_SHARE: await of("THSM_SHARE"),
    THSM_AUDIT: await of("THSM_AUDIT"),
  };
}

async function endsOf(
  connection: NatsConnection,
  reader: StreamReader,
  stream: KeptStream,
): Promise<{ first: number; last: number }> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
    const { state } = await manager.streams.info(stream);
    return { first: Math.max(1, state.first_seq), last: state.last_seq };
  } catch {
    // Without the permission for STREAM.INFO a deleted end looks like the end: the last message there is.
    return { first: 1, last: await reader.lastSeq(stream, filters[stream]) };
  }
}
