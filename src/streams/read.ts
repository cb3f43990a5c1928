/**
 * @module Reading a stream by direct get: no consumer, no trace in the server. The way that every
 * role replays history.
 */
import type { Msg, NatsConnection } from "nats";
import { HsmError } from "../errors.js";
import { assembleMessage, signatureOf, type StoredMessage } from "./envelope.js";
import { parseSubject, type StreamName } from "./subjects.js";

const tryMs = 2000;
const tries = 4;
/** Gets in flight during a replay. */
const window = 64;

/** What stands at a sequence number: a message, or bytes that are none of ours. */
export type Entry =
  | { readonly seq: number; readonly message: StoredMessage }
  | { readonly seq: number; readonly junk: HsmError };

export class StreamReader {
  readonly #connection: NatsConnection;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  /** The entry at `seq`; undefined when it is deleted, expired or not yet there. */
  async at(stream: StreamName, seq: number): Promise<Entry | undefined> {
    return entryOf(stream, await this.#get(`$JS.API.DIRECT.GET.${stream}`, { seq }));
  }

  /**
   * The last message on a subject. `subject` is authorised literally: a role may read only the
   * subjects (and wildcards) that its permissions list.
   */
  async last(stream: StreamName, subject: string): Promise<StoredMessage | undefined> {
    const reply = await this.#get(`$JS.API.DIRECT.GET.${stream}.${subject}`, undefined);
    const entry = entryOf(stream, reply);
    return entry !== undefined && "message" in entry ? entry.message : undefined;
  }

  /** Sequence number of the last message on a subject or wildcard, 0 when there is none. */
  async lastSeq(stream: StreamName, filter: string): Promise<number> {
    const reply = await this.#get(`$JS.API.DIRECT.GET.${stream}`, { last_by_subj: filter });
    return reply === undefined ? 0 : sequenceOf(reply);
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

  async #get(subject: string, query: object | undefined): Promise<Msg | undefined> {
    const payload = query === undefined ? "" : JSON.stringify(query);
    for (let attempt = 1; ; attempt++) {
      try {
        const reply = await this.#connection.request(subject, payload, { timeout: tryMs });
        const status = reply.headers?.code ?? 0;
        if (status === 404) return undefined;
        if (status >= 400) {
          throw new HsmError("ERR_BROKER", `NATS answered a read with ${status}`);
        }
        return reply;
      } catch (cause) {
        if (cause instanceof HsmError) throw cause;
        if (isPermission(cause)) {
          throw new HsmError("ERR_BROKER", `not permitted to read ${subject}`, { cause });
        }
        if (attempt === tries || this.#connection.isClosed()) {
          throw new HsmError("ERR_BROKER_UNREACHABLE", "NATS does not answer reads", { cause });
        }
      }
    }
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

function isPermission(cause: unknown): boolean {
  return cause instanceof Error && /permission/i.test(`${cause.message} ${String(cause.cause)}`);
}
