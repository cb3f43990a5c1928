/**
 * @module What this node has seen of the streams that it acts on, kept on its own disk. A stream that is
 * another one, has become shorter, or holds something else where this node has read before, was rolled
 * back or replaced: from then on the node refuses to sign, until history is whole again or its operator
 * accepts what is there (`thsm-node --accept-history`).
 */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Matches } from "class-validator";
import { describeError, HsmError } from "../errors.js";
import { forgetCheckpoints } from "./checkpoint-state.js";
import type { Logger } from "../log.js";
import type { StoredMessage } from "../streams/envelope.js";
import { IsCount, IsText } from "../streams/fields.js";
import type { StreamReader, StreamState } from "../streams/read.js";
import { streamNames, type StreamName } from "../streams/subjects.js";
import { validated } from "../validate.js";

/** Requests whose numbers are remembered in memory, the newest of them. */
const remembered = 8192;
const guarded = [streamNames.requests, streamNames.keys] as const;

/** How far a stream was known, and by what its newest message is recognised. */
class Mark {
  @IsText(64) readonly created!: string;
  @IsCount() readonly last!: number;
  /** Empty where nodes may not read single messages. */
  @Matches(/^(?:[0-9a-f]{64})?$/) readonly hash!: string;
}

type HistoryReader = Pick<StreamReader, "state" | "at">;

export interface HistoryGuardOptions {
  readonly dataDir: string;
  readonly log: Logger;
}

function fileIn(dataDir: string): string {
  return join(dataDir, "seen");
}

/** Takes whatever the streams hold at the next start for the history. */
export async function acceptHistory(dataDir: string): Promise<void> {
  await rm(fileIn(dataDir), { force: true });
  await forgetCheckpoints(dataDir);
}

export class HistoryGuard {
  readonly #options: HistoryGuardOptions;
  readonly #marks: Map<StreamName, Mark>;
  readonly #requests = new Map<number, string>();
  /** Of what was delivered: a number that only the server named may be a lie, and would stay. */
  #lastRequest = 0;
  /** Two requests of members under one number: that heals only with a new start. */
  #proof: HsmError | undefined;
  #mismatch: HsmError | undefined;
  #written = "";

  private constructor(options: HistoryGuardOptions, marks: Map<StreamName, Mark>) {
    this.#options = options;
    this.#marks = marks;
  }

  /** Continues from what an earlier life has seen. @throws HsmError `ERR_JOURNAL` for a damaged file */
  static async open(options: HistoryGuardOptions): Promise<HistoryGuard> {
    const path = fileIn(options.dataDir);
    let text;
    try {
      text = await readFile(path, "utf8");
    } catch (error) {
      const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isAbsent) throw new HsmError("ERR_JOURNAL", `cannot read ${path}`, { cause: error });
      return new HistoryGuard(options, new Map());
    }
    const guard = new HistoryGuard(options, parseMarks(text, path));
    guard.#written = text;
    return guard;
  }

  /** Why this node signs nothing; undefined while history holds. */
  get breach(): HsmError | undefined {
    return this.#proof ?? this.#mismatch;
  }

  /** @throws HsmError `ERR_AUDIT_MISMATCH` */
  require(): void {
    if (this.breach !== undefined) throw this.breach;
  }

  /** Takes note of a request that its client has signed, and that the stream delivered. */
  see({ seq, hash }: StoredMessage): void {
    const before = this.#requests.get(seq);
    if (before !== undefined && before !== hash && this.#proof === undefined) {
      this.#proof = mismatch(`${streamNames.requests} has held two requests as number ${seq}`);
      this.#options.log.error({ error: describeError(this.#proof) }, "history broken");
    }
    this.#requests.set(seq, hash);
    this.#lastRequest = Math.max(this.#lastRequest, seq);
    if (this.#requests.size > remembered) {
      const [oldest = seq] = this.#requests.keys();
      this.#requests.delete(oldest);
    }
  }

  /**
   * Compares the streams with what was seen of them. `newestKey` is the newest message of THSM_KEY
   * that this life has applied; undefined before the first.
   * @throws HsmError what reading throws: then nothing is known
   */
  async compare(reader: HistoryReader, newestKey: StoredMessage | undefined): Promise<void> {
    const { log } = this.#options;
    const before = this.#mismatch;
    const found = await this.#compare(reader, newestKey);
    this.#mismatch = found;
    if (found !== undefined && found.message !== before?.message) {
      log.error({ error: describeError(found) }, "history broken");
    }
    if (found === undefined && before !== undefined) log.info({}, "history is whole again");
    if (this.breach === undefined) await this.#write();
  }

  async #compare(
    reader: HistoryReader,
    newestKey: StoredMessage | undefined,
  ): Promise<HsmError | undefined> {
    for (const stream of guarded) {
      const state = await reader.state(stream);
      const mark = this.#marks.get(stream);
      const wrong = mark === undefined ? undefined : difference(stream, mark, state);
      if (wrong !== undefined) return wrong;
      if (state === undefined) throw new HsmError("ERR_BROKER_UNREACHABLE", `no ${stream} yet`);
      // Keys are never forgotten; a key whose proposal is gone would look like none.
      if (stream === streamNames.keys && state.first > 1) {
        return mismatch(`${stream} begins with message ${state.first}: those before it are gone`);
      }
      const known = stream === streamNames.keys ? await this.#knownKey(reader, newestKey) : "";
      if (known instanceof HsmError) return known;
      const seen = stream === streamNames.keys ? (newestKey?.seq ?? 0) : this.#lastRequest;
      const last = Math.max(mark?.last ?? 0, seen);
      this.#marks.set(stream, { created: state.created, last, hash: known });
    }
    return undefined;
  }

  /** The hash of the newest key event, after a look whether those known are where they were. */
  async #knownKey(
    reader: HistoryReader,
    newest: StoredMessage | undefined,
  ): Promise<string | HsmError> {
    const mark = this.#marks.get(streamNames.keys);
    const seen = [
      { seq: mark?.last ?? 0, hash: mark?.hash ?? "" },
      { seq: newest?.seq ?? 0, hash: newest?.hash ?? "" },
    ];
    for (const { seq, hash } of seen) {
      if (seq === 0) continue;
      const entry = await reader.at(streamNames.keys, seq);
      const now = entry !== undefined && "message" in entry ? entry.message.hash : "";
      if (now !== hash)
        return mismatch(`${streamNames.keys} has another message ${seq} than before`);
    }
    return newest?.hash ?? "";
  }

  /** Not synced: older marks only notice less. */
  async #write(): Promise<void> {
    const text = JSON.stringify(Object.fromEntries(this.#marks));
    if (text === this.#written) return;
    const path = fileIn(this.#options.dataDir);
    try {
      await writeFile(`${path}.tmp`, text, { mode: 0o600 });
      await rename(`${path}.tmp`, path);
      this.#written = text;
    } catch (error) {
      this.#options.log.warn({ error: describeError(error) }, "cannot write what was seen");
    }
  }
}

function difference(
  stream: StreamName,
  { created, last }: Mark,
  state: StreamState | undefined,
): HsmError | undefined {
  if (state === undefined) return mismatch(`${stream} is gone`);
  if (state.created !== created) {
    return mismatch(`${stream} was made at ${state.created}, not at ${created}: it is another one`);
  }
  if (state.last < last) {
    return mismatch(`${stream} ends at ${state.last}, and had ${last} messages before`);
  }
  return undefined;
}

function mismatch(what: string): HsmError {
  return new HsmError("ERR_AUDIT_MISMATCH", what);
}

function parseMarks(text: string, path: string): Map<StreamName, Mark> {
  try {
    const all: unknown = JSON.parse(text);
    const marks = new Map<StreamName, Mark>();
    if (typeof all !== "object" || all === null) throw new Error("not an object");
    for (const [name, plain] of Object.entries(all)) {
      const stream = guarded.find((one) => one === name);
      if (stream !== undefined) marks.set(stream, validated(Mark, plain, "ERR_JOURNAL"));
    }
    return marks;
  } catch (cause) {
    const what = `${path} is damaged: stop the node and run thsm-node with --accept-history`;
    throw new HsmError("ERR_JOURNAL", what, { cause });
  }
}
