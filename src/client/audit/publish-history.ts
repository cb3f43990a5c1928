/**
 * @module A recorded history published to a scratch server, to be studied with whatever reads streams. Subjects,
 * payloads, signatures, order and sequence numbers are the recorded ones; the server's times are new.
 */
import {
  jetstream,
  jetstreamManager,
  StorageType,
  type JetStreamManager,
} from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../../errors.js";
import { messageHeaders } from "../../streams/envelope.js";
import type { Entry } from "../../streams/read.js";
import type { VerifyProgress } from "./audit-items.js";
import { merge } from "./merge.js";
import { byStream, filters, keptStreams, type HistorySource, type KeptStream } from "./sources.js";

export interface PublishOptions {
  /** Delete the streams that the server has, with all that is in them. */
  readonly force?: boolean;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/** Messages under way. */
const window = 64;

/**
 * Makes the streams on a server, without the limits of those that sign, and fills them.
 * @throws HsmError `ERR_CONFLICT` for a server that has such streams with something in them, `ERR_BROKER`
 */
export async function publishHistory(
  source: HistorySource,
  connection: NatsConnection,
  { force = false, onProgress }: PublishOptions = {},
): Promise<void> {
  const manager = await jetstreamManager(connection, { timeout: 5000 });
  // Looked at first: nothing is deleted when another one is in the way.
  for (const stream of keptStreams) await requireFree(manager, stream, force);
  for (const stream of keptStreams) await makeEmpty(manager, stream);
  const bounds = await source.bounds();
  const total = keptStreams.reduce((sum, stream) => sum + bounds[stream].last, 0);
  const filler = new Filler(connection, manager);
  let done = 0;
  for await (const { stream, entry } of merge(source, keptStreams)) {
    await filler.put(stream, entry);
    if (++done % 500 === 0) onProgress?.({ done, total });
  }
  for (const stream of keptStreams) await filler.skipTo(stream, bounds[stream].last + 1);
  await filler.settle();
  onProgress?.({ done, total });
}

async function requireFree(
  manager: JetStreamManager,
  stream: KeptStream,
  force: boolean,
): Promise<void> {
  const last = await lastOf(manager, stream);
  if (force || last === undefined || last === 0) return;
  throw new HsmError(
    "ERR_CONFLICT",
    `the server has ${stream} with messages up to ${last} already: take an empty server, or --force to delete them`,
  );
}

/** The number of the last message that the stream ever had; undefined for no stream. */
async function lastOf(manager: JetStreamManager, stream: KeptStream): Promise<number | undefined> {
  try {
    return (await manager.streams.info(stream)).state.last_seq;
  } catch (error) {
    if (describeError(error).includes("stream not found")) return undefined;
    throw failed(`look at ${stream}`, error);
  }
}

async function makeEmpty(manager: JetStreamManager, stream: KeptStream): Promise<void> {
  try {
    if ((await lastOf(manager, stream)) !== undefined) await manager.streams.delete(stream);
    const settings = { storage: StorageType.File, allow_direct: true };
    await manager.streams.add({ name: stream, subjects: [filters[stream]], ...settings });
  } catch (error) {
    throw failed(`make ${stream}`, error);
  }
}

/** Puts entries where they were. */
class Filler {
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #next = byStream(() => 1);
  readonly #said = new Set<string>();
  readonly #underWay: Promise<void>[] = [];

  constructor(connection: NatsConnection, manager: JetStreamManager) {
    this.#connection = connection;
    this.#manager = manager;
  }

  async put(stream: KeptStream, entry: Entry): Promise<void> {
    await this.skipTo(stream, entry.seq);
    this.#publish(stream, entry);
    while (this.#underWay.length >= window) await this.#underWay.shift();
  }

  /** Leaves out the numbers that are missing. */
  async skipTo(stream: KeptStream, seq: number): Promise<void> {
    const next = this.#next[stream];
    if (seq < next) {
      const text = `entry ${seq} of ${stream} comes after entry ${next - 1}: no server stores it so`;
      throw new HsmError("ERR_INVALID_ARGUMENT", text);
    }
    if (seq === next) return;
    await this.settle();
    if (next === 1) {
      // A stream whose beginning is gone: an empty one begins where one says.
      await this.#try(`begin ${stream} at ${seq}`, () =>
        this.#manager.streams.purge(stream, { seq }),
      );
      this.#next[stream] = seq;
      return;
    }
    while (this.#next[stream] < seq) {
      const gone = this.#next[stream];
      this.#publish(stream, { seq: gone, junk: new HsmError("ERR_INVALID_MESSAGE", "missing") });
      await this.settle();
      await this.#try(`leave out entry ${gone} of ${stream}`, () =>
        this.#manager.streams.deleteMessage(stream, gone),
      );
    }
  }

  async settle(): Promise<void> {
    while (this.#underWay.length > 0) await this.#underWay.shift();
  }

  #publish(stream: KeptStream, entry: Entry): void {
    const { seq } = entry;
    this.#next[stream] = seq + 1;
    const pending = this.#try(`publish entry ${seq} of ${stream}`, async () => {
      const ack = await this.#send(stream, entry);
      if (ack.seq === seq && !ack.duplicate) return;
      throw new HsmError("ERR_CONFLICT", `entry ${seq} of ${stream} was stored as ${ack.seq}`);
    });
    // Awaited in its turn; until then a failure must not count as unhandled.
    pending.catch(() => undefined);
    this.#underWay.push(pending);
  }

  #send(stream: KeptStream, entry: Entry): Promise<{ seq: number; duplicate: boolean }> {
    const js = jetstream(this.#connection, { timeout: 10_000 });
    // What was no message is none again; nobody kept its bytes.
    if (!("message" in entry)) return js.publish(filters[stream].replace(">", "no.message"));
    const { subject, payload, hash } = entry.message;
    const headers = messageHeaders(entry.message);
    // Stored again with the same bytes: the server would drop it as a repeat of the same minute.
    if (this.#said.has(hash)) headers.delete("Nats-Msg-Id");
    this.#said.add(hash);
    return js.publish(subject, payload, { headers });
  }

  async #try(what: string, action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      throw failed(what, error);
    }
  }
}

function failed(what: string, cause: unknown): HsmError {
  if (cause instanceof HsmError) return cause;
  return new HsmError("ERR_BROKER", `cannot ${what}: ${describeError(cause)}`, { cause });
}
