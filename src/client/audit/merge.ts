/**
 * @module Several streams read side by side, in the order of the server's time stamps. Nobody vouches for
 * those, and nothing depends on them but how much has to be held in memory until it can be joined: what lies further
 * apart than an audit holds is told apart.
 */
import type { Entry } from "../../streams/read.js";
import type { HistorySource, KeptStream } from "./sources.js";

export interface StreamEntry {
  readonly stream: KeptStream;
  readonly entry: Entry;
}

interface Reader {
  readonly stream: KeptStream;
  readonly entries: AsyncIterator<Entry>;
  head: Entry | undefined;
  /** Of `head`; Infinity behind the end. */
  timeMs: number;
}

/** Every entry of the streams, each stream's in its own order. */
export async function* merge(
  source: Pick<HistorySource, "entries">,
  streams: readonly KeptStream[],
): AsyncGenerator<StreamEntry> {
  const readers: Reader[] = streams.map((stream) => ({
    stream,
    entries: source.entries(stream)[Symbol.asyncIterator](),
    head: undefined,
    timeMs: Infinity,
  }));
  try {
    for (const reader of readers) await advance(reader);
    for (;;) {
      const next = readers.reduce((one, other) => (other.timeMs < one.timeMs ? other : one));
      if (next.head === undefined) return;
      yield { stream: next.stream, entry: next.head };
      await advance(next);
    }
  } finally {
    for (const { entries } of readers) await entries.return?.();
  }
}

async function advance(reader: Reader): Promise<void> {
  const { done, value } = await reader.entries.next();
  reader.head = done === true ? undefined : value;
  reader.timeMs = reader.head === undefined ? Infinity : timeOf(reader.head);
}

/** An entry that has no time goes at once. */
function timeOf(entry: Entry): number {
  return "message" in entry ? Date.parse(entry.message.time) || 0 : 0;
}
