/**
 * @module Several parts of one history, read as one: exports from before rotations, and what the streams still
 * hold. Parts overlap; where they have the same number they must have the same bytes, or both are told, and the
 * audit finds a number twice.
 */
import type { Entry } from "../../streams/read.js";
import { formatEntry } from "./ndjson.js";
import {
  byStream,
  type HistoryBounds,
  type HistorySource,
  type KeptStream,
  type StreamBounds,
} from "./sources.js";

/** The last part is the newest. */
export function joinedHistory(parts: readonly HistorySource[]): HistorySource {
  return {
    bounds: async () => {
      const all: HistoryBounds[] = [];
      for (const part of parts) all.push(await part.bounds());
      return byStream((stream) => joined(all.map((bounds) => bounds[stream])));
    },
    entries: (stream, from) => joinedEntries(parts, stream, from),
  };
}

function joined(bounds: readonly StreamBounds[]): StreamBounds {
  return {
    first: Math.min(...bounds.map(({ first }) => first)),
    settled: Math.max(0, ...bounds.map(({ settled }) => settled)),
    last: Math.max(0, ...bounds.map(({ last }) => last)),
  };
}

async function* joinedEntries(
  parts: readonly HistorySource[],
  stream: KeptStream,
  from?: number,
): AsyncGenerator<Entry> {
  const readers = parts.map((part) => part.entries(stream, from)[Symbol.asyncIterator]());
  const heads: (Entry | undefined)[] = [];
  const advance = async (index: number): Promise<void> => {
    const step = await readers[index]?.next();
    heads[index] = step?.done === true ? undefined : step?.value;
  };
  try {
    for (const index of readers.keys()) await advance(index);
    for (;;) {
      const next = Math.min(...heads.map((head) => head?.seq ?? Infinity));
      if (next === Infinity) return;
      const told = new Set<string>();
      for (const [index, head] of heads.entries()) {
        if (head?.seq !== next) continue;
        const line = formatEntry(head);
        if (!told.has(line)) yield head;
        told.add(line);
        await advance(index);
      }
    }
  } finally {
    for (const reader of readers) await reader.return?.();
  }
}
