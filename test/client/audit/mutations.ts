/** @module What a random mutation can be: each step changes one thing of a history at a place that chance picks. */
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import type { Stored, Streams } from "./history.js";
import { moved, other } from "./mutated.js";

export type Mutation = (streams: Streams, stream: KeptStream, a: number, b: number) => void;

function pick(list: readonly Stored[], index: number): Stored | undefined {
  return list[index % Math.max(1, list.length)];
}

function change(edit: (stored: Stored, a: number, b: number) => void): Mutation {
  return (streams, stream, a, b) => {
    const stored = pick(streams[stream], a);
    if (stored !== undefined) edit(stored, a, b);
  };
}

function exchange(field: "payload" | "subject" | "signature"): Mutation {
  return (streams, stream, a, b) => {
    const [one, two] = [pick(streams[stream], a), pick(streams[stream], b)];
    if (one === undefined || two === undefined) return;
    const { [field]: before } = one;
    Object.assign(one, { [field]: two[field] });
    Object.assign(two, { [field]: before });
  };
}

function flip(text: Uint8Array, place: number, bits: number): Buffer {
  const bytes = Buffer.from(text);
  const position = place % Math.max(1, bytes.length);
  bytes[position] = (bytes[position] ?? 0) ^ (1 + (bits % 127));
  return bytes;
}

function flipText(text: string, place: number, bits: number): string {
  return flip(Buffer.from(text, "latin1"), place, bits).toString("latin1");
}

/** What no audit may miss, whatever it remembers. */
export const inPlace: Readonly<Record<string, Mutation>> = {
  drop: (streams, stream, a) => streams[stream].splice(a % Math.max(1, streams[stream].length), 1),
  swap: (streams, stream, a, b) => {
    const list = streams[stream];
    if (list.length > 0) moved(list, a % list.length, b % list.length);
  },
  duplicate: (streams, stream, a, b) => {
    const stored = pick(streams[stream], a);
    const place = b % (streams[stream].length + 1);
    if (stored !== undefined) streams[stream].splice(place, 0, { ...stored });
  },
  editPayload: change((stored, a, b) => (stored.payload = flip(stored.payload, b, a))),
  editHeader: change((stored, a, b) => (stored.signature = flipText(stored.signature, b, a))),
  editSubject: change((stored, a, b) => (stored.subject = flipText(stored.subject, b, a))),
  editTime: change((stored, _, b) => (stored.time = new Date(b).toISOString())),
  exchangePayloads: exchange("payload"),
  exchangeSubjects: exchange("subject"),
  exchangeHeaders: exchange("signature"),
  moveStream: (streams, stream, a, b) => {
    const to = keptStreams[b % keptStreams.length] ?? stream;
    const stored = pick(streams[stream], a);
    if (stored !== undefined) streams[to].push({ ...stored });
  },
};

/** What can leave a history that is right in itself: found by whoever remembers more. */
export const wholesale: Readonly<Record<string, Mutation>> = {
  dropTail: (streams, stream, a) => streams[stream].splice(-1 - (a % 5)),
  dropSince: (streams, stream, a) => {
    const moment = pick(streams[stream], a)?.time;
    if (moment === undefined) return;
    for (const one of keptStreams) {
      streams[one] = streams[one].filter(({ time }) => time < moment);
    }
  },
  insertOther: (streams, stream, a, b) => {
    const stored = pick(other.streams[stream], a);
    const place = b % (streams[stream].length + 1);
    if (stored !== undefined) streams[stream].splice(place, 0, { ...stored });
  },
  spliceOther: (streams, stream, a) => {
    const from = a % (streams[stream].length + 1);
    streams[stream].splice(from, 99, ...structuredClone(other.streams[stream].slice(from)));
  },
};
