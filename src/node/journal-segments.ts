/**
 * @module The journal's files: `<first n>.ndjson`, one line a message. Every message carries its
 * number n and the hash of the one before, so the lines prove each other; the hash of a message
 * covers its bytes, its subject and its signature.
 */
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { HsmError } from "../errors.js";
import { assembleMessage, chainStart, type SignedMessage } from "../streams/envelope.js";
import { streamNames } from "../streams/subjects.js";

/** One message that this node has spoken. */
export interface JournalEntry {
  readonly n: number;
  readonly prev: string;
  /** The node's own clock, RFC 3339. */
  readonly time: string;
  readonly message: SignedMessage;
}

/** Where a line stands, so that it can be read again. */
export interface Place {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** An entry that is on disk. */
export interface WrittenEntry extends JournalEntry {
  readonly place: Place;
}

export interface Segment {
  readonly first: number;
  readonly path: string;
}

const newline = 10;
/** More than the longest line: 64 shares and proofs of 4096 bits. */
const longestLine = 1 << 20;
const segmentName = /^(\d{15})\.ndjson$/;

export function segmentPath(directory: string, first: number): string {
  return join(directory, `${String(first).padStart(15, "0")}.ndjson`);
}

/** Oldest first; none when there is no such directory yet. */
export async function listSegments(directory: string): Promise<Segment[]> {
  return (await namesIn(directory))
    .filter((name) => segmentName.test(name))
    .toSorted()
    .map((name) => ({ first: Number.parseInt(name, 10), path: join(directory, name) }));
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

export function formatLine({ stream, subject, payload, signature }: SignedMessage): string {
  const text = Buffer.from(payload).toString("utf8");
  return `${JSON.stringify({ stream, subject, payload: text, signature })}\n`;
}

/** @throws HsmError `ERR_JOURNAL` */
function parseLine(line: string, where: string): JournalEntry {
  try {
    const { stream, subject, payload, signature } = strings(JSON.parse(line));
    const known = Object.values(streamNames).find((name) => name === stream);
    if (known === undefined) throw new Error("unknown stream");
    const body: unknown = JSON.parse(payload);
    if (!isChained(body)) throw new Error("no place in the chain");
    const message = assembleMessage(known, subject, Buffer.from(payload, "utf8"), signature);
    return { n: body.n, prev: body.prev, time: body.time, message };
  } catch (cause) {
    throw damaged(where, "a line is not readable", cause);
  }
}

/** The ends of a segment, undefined when it is empty, and what was wanted of it. */
export interface SegmentContent {
  readonly first: JournalEntry | undefined;
  readonly last: JournalEntry | undefined;
  readonly kept: readonly WrittenEntry[];
}

/**
 * Reads one segment and checks that its entries continue each other, begin with the number of its
 * name and name `keyId` as their signer's key. Only what `keep` wants stays in memory. Of a file that is being
 * written `endOf` tells how far it is: bytes behind that, or behind the last newline, are left out.
 * @throws HsmError `ERR_JOURNAL`
 */
export async function readSegment(
  segment: Segment,
  keyId: string,
  keep: (entry: JournalEntry) => boolean,
  endOf: (bytes: Buffer) => number = ({ length }) => length,
): Promise<SegmentContent> {
  const whole = await readFile(segment.path);
  const bytes = whole.subarray(0, endOf(whole));
  const kept: WrittenEntry[] = [];
  let first: JournalEntry | undefined;
  let last: JournalEntry | undefined;
  for (let from = 0, to = bytes.indexOf(newline); to >= 0; to = bytes.indexOf(newline, from)) {
    const entry = parseLine(bytes.toString("utf8", from, to), segment.path);
    if (last === undefined ? entry.n !== segment.first : !continues(entry, last)) {
      throw damaged(segment.path, `message ${entry.n} does not continue the one before`);
    }
    // The one part of a line that no hash covers.
    if (!entry.message.signature.startsWith(`ed25519 ${keyId} `)) {
      throw damaged(segment.path, `message ${entry.n} is not signed by this node's identity`);
    }
    if (keep(entry)) {
      kept.push({ ...entry, place: { path: segment.path, offset: from, length: to - from } });
    }
    first ??= entry;
    last = entry;
    from = to + 1;
  }
  return { first, last, kept };
}

/** Whether `entry` comes right after `last`, or begins the chain when there is none. */
export function continues(entry: JournalEntry, last: JournalEntry | undefined): boolean {
  return entry.n === (last?.n ?? 0) + 1 && entry.prev === (last?.message.hash ?? chainStart);
}

/** The last entry of a segment that another one follows. @throws HsmError `ERR_JOURNAL` */
export async function lastEntry(segment: Segment): Promise<JournalEntry> {
  const file = await open(segment.path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, longestLine);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    if (buffer.at(-1) !== newline) throw damaged(segment.path, "the last line has no end");
    const start = buffer.lastIndexOf(newline, -2) + 1;
    return parseLine(buffer.toString("utf8", start, length - 1), segment.path);
  } finally {
    await file.close();
  }
}

/** The entry at a place that was told before. @throws HsmError `ERR_JOURNAL` */
export async function readEntry({ path, offset, length }: Place): Promise<JournalEntry> {
  const file = await open(path, "r");
  try {
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
    return parseLine(buffer.toString("utf8"), path);
  } finally {
    await file.close();
  }
}

export function damaged(where: string, what: string, cause?: unknown): HsmError {
  return new HsmError(
    "ERR_JOURNAL",
    `${where}: ${what}; this node does not start, so that it cannot contradict itself. Restore the ` +
      "data directory from its disk's newest state, or retire this identity and enrol the node under a new one",
    { cause },
  );
}

function strings(value: unknown): Record<"stream" | "subject" | "payload" | "signature", string> {
  const fields = new Map<string, unknown>(Object.entries(Object(value)));
  const text = (name: string): string => {
    const field = fields.get(name);
    if (typeof field !== "string") throw new Error(`no ${name}`);
    return field;
  };
  return {
    stream: text("stream"),
    subject: text("subject"),
    payload: text("payload"),
    signature: text("signature"),
  };
}

function isChained(body: unknown): body is { n: number; prev: string; time: string } {
  return (
    typeof body === "object" &&
    body !== null &&
    "n" in body &&
    Number.isSafeInteger(body.n) &&
    "prev" in body &&
    typeof body.prev === "string" &&
    "time" in body &&
    typeof body.time === "string"
  );
}
