/**
 * @module Reading a stream by direct get: no consumer, no trace in the server. The way that every
 * role replays history.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createInbox, type Msg, type NatsConnection } from "nats";
import { HsmError } from "../errors.js";
import { inboxPrefixOf, onPublishDenied } from "./connection.js";
import { assembleMessage, signatureOf, type StoredMessage } from "./envelope.js";
import { parseSubject, type StreamName } from "./subjects.js";

const tryMs = 2000;
const tries = 4;
/** Before asking again where no stream listens: it is being created, or elects its leader. */
const electionMs = 150;
/** Gets in flight during a replay. */
const window = 64;

/** What stands at a sequence number: a message, or bytes that are none of ours. */
export type Entry =
  | { readonly seq: number; readonly message: StoredMessage }
  | { readonly seq: number; readonly junk: HsmError };

/** A stream as a whole, by the server's word. */
export interface StreamState {
  /** When it was made; another time means another stream of the same name. */
  readonly created: string;
  readonly first: number;
  readonly last: number;
}

/** Of JetStream's API: there is no such stream. */
const streamNotFound = 10059;

/** What became of a question to the server. */
type Reply = Msg | "denied" | "silence";

interface Question {
  readonly subject: string;
  readonly settle: (reply: Reply) => void;
}

/**
 * One per connection. Asks by an inbox of its own: the library's `request` takes a stored message
 * that its sender began with a status line for the server's own "503", and one such message would
 * stop every replay.
 */
export class StreamReader {
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  readonly #questions = new Map<string, Question>();
  #isListening = false;
  #count = 0;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    this.#inbox = createInbox(inboxPrefixOf(connection));
  }

  get isClosed(): boolean {
    return this.#connection.isClosed();
  }

  /** The entry at `seq`; undefined when it is deleted, expired or not yet there. */
  async at(stream: StreamName, seq: number): Promise<Entry | undefined> {
    const entry = entryOf(stream, await this.#get(`$JS.API.DIRECT.GET.${stream}`, { seq }));
    if (entry !== undefined && entry.seq !== seq) {
      throw new HsmError("ERR_BROKER", `asked for message ${seq} of ${stream}, got ${entry.seq}`);
    }
    return entry;
  }

  /**
   * The last message on a subject. `subject` is authorised literally: a role may read only the
   * subjects (and wildcards) that its permissions list.
   */
  async last(stream: StreamName, subject: string): Promise<StoredMessage | undefined> {
    const entry = await this.lastEntry(stream, subject);
    return entry !== undefined && "message" in entry ? entry.message : undefined;
  }

  /** `last`, and what is there instead when it is none of ours. */
  async lastEntry(stream: StreamName, subject: string): Promise<Entry | undefined> {
    const reply = await this.#get(`$JS.API.DIRECT.GET.${stream}.${subject}`, undefined);
    return entryOf(stream, reply);
  }

  /** The first entry on a subject or wildcard from number `from` on. */
  async nextEntry(stream: StreamName, subject: string, from = 1): Promise<Entry | undefined> {
    const query = { seq: from, next_by_subj: subject };
    return entryOf(stream, await this.#get(`$JS.API.DIRECT.GET.${stream}`, query));
  }

  /** Sequence number of the last message on a subject or wildcard, 0 when there is none. */
  async lastSeq(stream: StreamName, filter: string): Promise<number> {
    const reply = await this.#get(`$JS.API.DIRECT.GET.${stream}`, { last_by_subj: filter });
    return reply === undefined ? 0 : sequenceOf(reply);
  }

  /**
   * Undefined when the server has no such stream.
   * @throws HsmError `ERR_BROKER` also for a login that may not ask, `ERR_BROKER_UNREACHABLE`
   */
  async state(stream: StreamName): Promise<StreamState | undefined> {
    const reply = await this.#insist(`$JS.API.STREAM.INFO.${stream}`, "");
    const state = parseState(reply);
    if (state === "none") return undefined;
    if (state !== undefined) return state;
    throw new HsmError("ERR_BROKER", `NATS does not say how ${stream} stands`);
  }

  /**
   * Everything from `from` to `to` in order, many gets in flight. Missing sequence numbers are
   * left out; the caller sees the gap.
   */
  async *replay(stream: StreamName, from: number, to: number): AsyncGenerator<Entry> {
    const inFlight: Promise<Entry | undefined>[] = [];
    let next = from;
    for (let seq = from; seq <= to; seq++) {
      // Refilled by the half: gets that are asked for in one turn share one write to the socket.
      const most = inFlight.length <= window / 2 ? window : inFlight.length;
      while (inFlight.length < most && next <= to) {
        const pending = this.at(stream, next++);
        // Awaited in its turn below; until then a failure must not count as unhandled.
        pending.catch(() => undefined);
        inFlight.push(pending);
      }
      const entry = await inFlight.shift();
      if (entry !== undefined) yield entry;
    }
  }

  /** The message that the server found, whatever its sender made of it; undefined for none. */
  async #get(subject: string, query: object | undefined): Promise<Msg | undefined> {
    const reply = await this.#insist(subject, query === undefined ? "" : JSON.stringify(query));
    if (isFound(reply)) return reply;
    const status = reply.headers?.code ?? 0;
    if (status === 404) return undefined;
    throw new HsmError("ERR_BROKER", `NATS answered a read with status ${status}`);
  }

  /** What the server answers, asked again while nobody is there. */
  async #insist(subject: string, payload: string): Promise<Msg> {
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#ask(subject, payload);
      if (reply === "denied") throw new HsmError("ERR_BROKER", `not permitted to read ${subject}`);
      if (reply !== "silence" && (isFound(reply) || reply.headers?.code !== 503)) return reply;
      if (attempt === tries || this.#connection.isClosed()) {
        throw new HsmError("ERR_BROKER_UNREACHABLE", "NATS does not answer reads");
      }
      if (reply !== "silence") await delay(electionMs * attempt);
    }
  }

  #ask(subject: string, payload: string): Promise<Reply> {
    return new Promise((resolve) => {
      const id = (++this.#count).toString(36);
      const settle = (reply: Reply): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(reply);
      };
      const timer = setTimeout(() => settle("silence"), tryMs);
      this.#questions.set(id, { subject, settle });
      try {
        this.#listen();
        this.#connection.publish(subject, payload, { reply: `${this.#inbox}.${id}` });
      } catch {
        // The connection is closed.
        settle("silence");
      }
    });
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, reply) => {
        if (error !== null) return;
        this.#questions.get(reply.subject.slice(this.#inbox.length + 1))?.settle(reply);
      },
    });
    onPublishDenied(this.#connection, (denied) => {
      for (const { subject, settle } of this.#questions.values()) {
        if (subject === denied) settle("denied");
      }
    });
    this.#isListening = true;
  }
}

/** The server puts a sequence number on all that it found, and on nothing else. */
function isFound(reply: Msg): boolean {
  return reply.headers?.has("Nats-Sequence") === true;
}

/** Undefined for what says nothing of a stream. */
function parseState(reply: Msg): StreamState | "none" | undefined {
  interface Info {
    created?: unknown;
    state?: { first_seq?: unknown; last_seq?: unknown };
    error?: { err_code?: unknown };
  }
  try {
    const { created, state, error } = reply.json<Info>();
    if (error?.err_code === streamNotFound) return "none";
    const { first_seq: first, last_seq: last } = state ?? {};
    const isWhole =
      typeof created === "string" && typeof first === "number" && typeof last === "number";
    return isWhole ? { created, first, last } : undefined;
  } catch {
    return undefined;
  }
}

function entryOf(stream: StreamName, reply: Msg | undefined): Entry | undefined {
  if (reply === undefined) return undefined;
  try {
    const message = storedFromHeaders(stream, reply);
    return { seq: message.seq, message };
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
    return { seq: sequenceOf(reply), junk: error };
  }
}

function storedFromHeaders(stream: StreamName, reply: Msg): StoredMessage {
  const from = reply.headers?.last("Nats-Stream");
  if (from !== stream) {
    throw new HsmError("ERR_BROKER", `expected a message of ${stream}, got one of ${from}`);
  }
  const subject = reply.headers?.last("Nats-Subject") ?? "";
  parseSubject(subject);
  const signed = assembleMessage(stream, subject, reply.data, signatureOf(reply.headers));
  const time = reply.headers?.last("Nats-Time-Stamp") ?? "";
  return { ...signed, seq: sequenceOf(reply), time };
}

function sequenceOf(reply: Msg): number {
  const seq = Number(reply.headers?.last("Nats-Sequence"));
  if (!Number.isSafeInteger(seq) || seq < 1) {
    throw new HsmError("ERR_BROKER", "NATS answered without a sequence number");
  }
  return seq;
}
