/**
 * @module Everything that this node says, in the order in which it says it, on its own disk before
 * anybody hears of it. No broker can lose, reorder or deny what a node said; and a node that has
 * crashed continues its chain instead of starting a second one.
 */
import { constants } from "node:fs";
import { mkdir, open, type FileHandle } from "node:fs/promises";
import type { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { IdentityKey } from "../identity/identity-key.js";
import { syncDirectory } from "../identity/secret-file.js";
import type { Logger } from "../log.js";
import { chainStart, signMessage, verifyMessage } from "../streams/envelope.js";
import type { StreamName } from "../streams/subjects.js";
import { GroupCommit, writeAll } from "./group-commit.js";
import {
  continues,
  cutTornLine,
  damaged,
  formatLine,
  lastEntry,
  listSegments,
  readSegment,
  segmentPath,
  type JournalEntry,
  type WrittenEntry,
} from "./journal-segments.js";

const defaultSegmentBytes = 16 << 20;
/** A write returns when the disk has it: the same as a sync behind it, at one call instead of two. */
const durably = constants.O_WRONLY | constants.O_APPEND | constants.O_DSYNC;

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

interface OpenSegment {
  readonly path: string;
  readonly file: FileHandle;
}

interface Spoken {
  readonly entry: JournalEntry;
  readonly line: Buffer;
}

/** The writing end, continuing after `last`. */
export class Journal {
  readonly #options: JournalOptions;
  #segment: OpenSegment | undefined;
  #size: number;
  /** The last message spoken, on disk or on its way. */
  #last: JournalEntry | undefined;
  readonly #commits: GroupCommit<Spoken, WrittenEntry>;

  private constructor(
    options: JournalOptions,
    last: JournalEntry | undefined,
    segment: OpenSegment | undefined,
    size: number,
  ) {
    this.#options = options;
    this.#last = last;
    this.#segment = segment;
    this.#size = size;
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
      return { journal: new Journal(options, undefined, undefined, 0), recent: [] };
    }
    const cut = await cutTornLine(newest);
    if (cut > 0) log.warn({ bytes: cut, path: newest.path }, "unfinished last line cut off");
    const { last, recent } = await readTail(options, isNeeded);
    if (last !== undefined) requireSigned(options.cluster, last, newest.path);
    const file = await open(newest.path, durably);
    const { size } = await file.stat();
    return { journal: new Journal(options, last, { path: newest.path, file }, size), recent };
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
    return (await readTail(this.#options, isNeeded)).recent;
  }

  /** Resolves when everything spoken is on disk and the file is closed. */
  async close(): Promise<void> {
    await this.#commits.close();
    await this.#segment?.file.close();
  }

  async #write(batch: readonly Spoken[]): Promise<WrittenEntry[]> {
    const { file, path } = await this.#segmentFor(batch[0]?.entry.n ?? 0);
    await writeAll(file, Buffer.concat(batch.map(({ line }) => line)), null);
    return batch.map(({ entry, line }) => {
      const offset = this.#size;
      this.#size += line.length;
      // Without its newline.
      return { ...entry, place: { path, offset, length: line.length - 1 } };
    });
  }

  async #segmentFor(n: number): Promise<OpenSegment> {
    const { directory, segmentBytes = defaultSegmentBytes } = this.#options;
    if (this.#segment === undefined || this.#size >= segmentBytes) {
      await this.#segment?.file.close();
      const path = segmentPath(directory, n);
      this.#segment = {
        path,
        file: await open(path, durably | constants.O_CREAT | constants.O_EXCL, 0o600),
      };
      this.#size = 0;
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
  for (const segment of await listSegments(directory)) {
    const { first, last } = await readSegment(segment, key.publicKey.keyId, (entry) => {
      requireSigned(cluster, entry, segment.path);
      return false;
    });
    if (first !== undefined && !continues(first, before)) {
      throw damaged(segment.path, `it does not continue message ${before?.n ?? 0}`);
    }
    before = last ?? before;
  }
  return before?.n ?? 0;
}

/** The segments from the newest back to the one whose first entry is not needed any more. */
async function readTail(
  { directory, key }: Pick<JournalOptions, "directory" | "key">,
  isNeeded: (entry: JournalEntry) => boolean,
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
    const { first, last: newest, kept } = await readSegment(segment, key.publicKey.keyId, isNeeded);
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
