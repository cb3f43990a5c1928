/**
 * @module Everything that this node says, in the order in which it says it, on its own disk before
 * anybody hears of it. No broker can lose, reorder or deny what a node said; and a node that has
 * crashed continues its chain instead of starting a second one.
 */
import { mkdir } from "node:fs/promises";
import type { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { IdentityKey } from "../identity/identity-key.js";
import { syncDirectory } from "../identity/secret-file.js";
import type { Logger } from "../log.js";
import { chainStart, signMessage, verifyMessage } from "../streams/envelope.js";
import type { StreamName } from "../streams/subjects.js";
import { GroupCommit } from "./group-commit.js";
import {
  continues,
  damaged,
  formatLine,
  lastEntry,
  listSegments,
  readSegment,
  segmentPath,
  type JournalEntry,
  type WrittenEntry,
} from "./journal-segments.js";
import { cutUnfinished, endOfLines, SegmentFile } from "./segment-file.js";

const defaultSegmentBytes = 16 << 20;

export interface JournalOptions {
  readonly directory: string;
  readonly key: IdentityKey;
  readonly cluster: Cluster;
  readonly log: Logger;
  /** A new file is begun when the last has this size. */
  readonly segmentBytes?: number;
  /** Called once when the disk fails. Nothing can be said any more: the process must end. */
  readonly onFailure: (error: HsmError) => void;
}

interface Spoken {
  readonly entry: JournalEntry;
  readonly line: Buffer;
}

/** The writing end, continuing after `last`. */
export class Journal {
  readonly #options: JournalOptions;
  #segment: SegmentFile | undefined;
  /** The last message spoken, on disk or on its way. */
  #last: JournalEntry | undefined;
  readonly #commits: GroupCommit<Spoken, WrittenEntry>;

  private constructor(
    options: JournalOptions,
    last: JournalEntry | undefined,
    segment: SegmentFile | undefined,
  ) {
    this.#options = options;
    this.#last = last;
    this.#segment = segment;
    this.#commits = new GroupCommit({
      what: "the journal",
      gatherMs: 0,
      write: (batch) => this.#write(batch),
      onFailure: options.onFailure,
    });
  }

  /**
   * Opens the journal where it ended. A torn last line is cut; everything back to the first message
   * that `isNeeded` does not want is read, and must hold together.
   * @returns the journal, and the needed entries, oldest first
   * @throws HsmError `ERR_JOURNAL`
   */
  static async open(
    options: JournalOptions,
    isNeeded: (entry: JournalEntry) => boolean,
  ): Promise<{ journal: Journal; recent: WrittenEntry[] }> {
    const { directory, log } = options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const newest = (await listSegments(directory)).at(-1);
    if (newest === undefined) {
      return { journal: new Journal(options, undefined, undefined), recent: [] };
    }
    const cut = await cutUnfinished(newest.path);
    if (cut > 0) log.warn({ bytes: cut, path: newest.path }, "unfinished last line cut off");
    const { last, recent } = await readTail(options, isNeeded);
    if (last !== undefined) requireSigned(options.cluster, last, newest.path);
    return { journal: new Journal(options, last, await SegmentFile.open(newest.path)), recent };
  }

  /** The last message spoken; undefined before the first. */
  get last(): JournalEntry | undefined {
    return this.#last;
  }

  /**
   * Signs `body` as the next message of the chain, with its number and the hash of the one before,
   * and resolves once it is on disk. One write serves all that is spoken while the last one ran.
   * @throws HsmError `ERR_JOURNAL` when the disk does not take it: then nothing was said
   */
  speak(stream: StreamName, subject: string, body: { time: string }): Promise<WrittenEntry> {
    const { failure } = this.#commits;
    if (failure !== undefined) return Promise.reject(failure);
    const n = (this.#last?.n ?? 0) + 1;
    const prev = this.#last?.message.hash ?? chainStart;
    const message = signMessage(this.#options.key, stream, subject, { ...body, n, prev });
    const entry = { n, prev, time: body.time, message };
    this.#last = entry;
    return this.#commits.add({ entry, line: Buffer.from(formatLine(message)) });
  }

  /** What was said from number `from` and from `time` (RFC 3339) on and is on disk, oldest first. */
  async since(from: number, time: string): Promise<WrittenEntry[]> {
    const isNeeded = (entry: JournalEntry): boolean => entry.n >= from && entry.time >= time;
    return (await readTail(this.#options, isNeeded, this.#segment?.size)).recent;
  }

  /** Resolves when everything spoken is on disk and the file is closed. */
  async close(): Promise<void> {
    await this.#commits.close();
    await this.#segment?.close();
  }

  async #write(batch: readonly Spoken[]): Promise<WrittenEntry[]> {
    const segment = await this.#segmentFor(batch[0]?.entry.n ?? 0);
    let next = await segment.append(Buffer.concat(batch.map(({ line }) => line)));
    return batch.map(({ entry, line }) => {
      const offset = next;
      next += line.length;
      // Without its newline.
      return { ...entry, place: { path: segment.path, offset, length: line.length - 1 } };
    });
  }

  async #segmentFor(n: number): Promise<SegmentFile> {
    const { directory, segmentBytes = defaultSegmentBytes } = this.#options;
    if (this.#segment === undefined || this.#segment.size >= segmentBytes) {
      await this.#segment?.close();
      this.#segment = await SegmentFile.create(segmentPath(directory, n));
      await syncDirectory(directory);
    }
    return this.#segment;
  }
}

/**
 * Reads every message of the journal and checks the chain and each signature.
 * @returns how many messages there are
 * @throws HsmError `ERR_JOURNAL`
 */
export async function verifyJournal(
  directory: string,
  key: IdentityKey,
  cluster: Cluster,
): Promise<number> {
  let before: JournalEntry | undefined;
  const segments = await listSegments(directory);
  for (const segment of segments) {
    const check = (entry: JournalEntry): boolean => {
      requireSigned(cluster, entry, segment.path);
      return false;
    };
    // Its node may be running, or have been killed.
    const endOf = segment === segments.at(-1) ? endOfLines : undefined;
    const { first, last } = await readSegment(segment, key.publicKey.keyId, check, endOf);
    if (first !== undefined && !continues(first, before)) {
      throw damaged(segment.path, `it does not continue message ${before?.n ?? 0}`);
    }
    before = last ?? before;
  }
  return before?.n ?? 0;
}

/** The segments from the newest, up to its byte `end`, back to the one whose first entry is not needed. */
async function readTail(
  { directory, key }: Pick<JournalOptions, "directory" | "key">,
  isNeeded: (entry: JournalEntry) => boolean,
  end?: number,
): Promise<{ last: JournalEntry | undefined; recent: WrittenEntry[] }> {
  const segments = await listSegments(directory);
  if (segments[0] !== undefined && segments[0].first !== 1) {
    throw damaged(directory, `messages 1 to ${segments[0].first - 1} are missing`);
  }
  const parts: (readonly WrittenEntry[])[] = [];
  let last: JournalEntry | undefined;
  for (let at = segments.length - 1; at >= 0; at--) {
    const segment = segments[at];
    if (segment === undefined) break;
    const endOf = at === segments.length - 1 && end !== undefined ? () => end : undefined;
    const content = await readSegment(segment, key.publicKey.keyId, isNeeded, endOf);
    const { first, last: newest, kept } = content;
    const older = segments[at - 1];
    const before = older === undefined ? undefined : await lastEntry(older);
    // A crash may have come between making a segment and its first line.
    const isContinued =
      first === undefined ? segment.first === (before?.n ?? 0) + 1 : continues(first, before);
    if (!isContinued) {
      throw damaged(segment.path, `it does not continue message ${before?.n ?? 0}`);
    }
    last ??= newest ?? before;
    parts.unshift(kept);
    if (first !== undefined && !isNeeded(first)) break;
  }
  return { last, recent: parts.flat() };
}

/** The signature too, of the last line because no later one covers it. */
function requireSigned(cluster: Cluster, { n, message }: JournalEntry, where: string): void {
  try {
    verifyMessage(cluster, message);
  } catch (cause) {
    throw damaged(where, `message ${n} has no good signature`, cause);
  }
}
