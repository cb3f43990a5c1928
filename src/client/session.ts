/**
 * @module A session: one application's connection to one token. Publishes its opening, its
 * numbered requests, their results and its closing.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { describeError, HsmError } from "../errors.js";
import { toBase64url } from "../identity/encoding.js";
import { blind, encodeMessage, type EncodingInput, type GroupKey } from "../scheme/index.js";
import { sessionEventVersion } from "../streams/audit-events.js";
import { isConnected } from "../streams/connection.js";
import { chainStart, signMessage, type SignedMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { RequestKind } from "../streams/requests.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { CallOptions, DecryptInput, SignInput, SigningSession } from "./api.js";
import { Batcher, type Item } from "./batcher.js";
import type { Bus } from "./bus.js";
import { hashLengths, requirePadding, unpad } from "./padding.js";
import { SigningRun, type Outcome, type RequestFields, type Work } from "./signing-run.js";
import { within } from "./within.js";

/** Room for the requests' other fields below the stream's limit of a message. */
const maxInputBytes = 24 * 1024;
const closeMs = 2000;
/** A run ends by its own deadline and says who was silent; this is for calls that wait behind it. */
const graceMs = 150;
/** How long a request is still brought to the record that missed its own deadline: no gap remains. */
const recordMs = 600_000;
const longestSalt = 64;

type Wish = Pick<EncodingInput, "encoding" | "hash" | "data">;
type Limits = Pick<Item, "deadlineMs" | "call">;

/** What a session needs of its client. */
export interface SessionContext {
  readonly bus: Bus;
  readonly client: string;
  readonly window: number;
  readonly batch: number;
  readonly timeoutMs: number;
  readonly onClosed?: () => void;
}

export class Session implements SigningSession {
  readonly id: string = toBase64url(randomBytes(16));
  readonly token: string;
  readonly #context: SessionContext;
  readonly #batchers = new Map<string, Batcher>();
  readonly #runs = new Set<Promise<unknown>>();
  /** Publications that nobody waits for. */
  readonly #unsettled = new Set<Promise<unknown>>();
  readonly #ending = new AbortController();
  readonly #openedEvent: SignedMessage;
  #opening: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;
  #requests = 0;
  /** Number and hash of the session's newest event. */
  #chain = { n: 0, hash: chainStart };
  /** Numbers of requests that the broker refused to store: the next ones take them. */
  readonly #freed: number[] = [];

  constructor(context: SessionContext, token: string, application: string) {
    this.#context = context;
    this.token = token;
    // Every run under way listens to it.
    setMaxListeners(0, this.#ending.signal);
    this.#openedEvent = this.#event({
      type: "session-opened",
      token,
      application: application.slice(0, 200),
    });
    // Not awaited here: the first signature's acknowledgements wait for it.
    this.#opened().catch(() => undefined);
  }

  sign(input: SignInput, options: CallOptions = {}): Promise<Uint8Array> {
    return this.#call(input.keyId, options, async (record, group, limits) => {
      const salt = saltFor(input);
      return await this.#power(record, group, input, salt, limits);
    });
  }

  decrypt(input: DecryptInput, options: CallOptions = {}): Promise<Uint8Array> {
    return this.#call(input.keyId, options, async (record, group, limits) => {
      const identity = this.#context.bus.identity.require();
      requirePadding(group, input);
      const { ciphertext: data, unblind } = blind(group, input.ciphertext, randomBytes);
      const power = this.#power(record, group, { encoding: "decrypt", data }, undefined, limits);
      return unpad(unblind(await power), input, identity);
    });
  }

  /** Within the caller's deadline, with an active key. */
  async #call(
    keyId: string,
    options: CallOptions,
    run: (record: KeyRecord, group: GroupKey, limits: Limits) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const timeoutMs = options.timeoutMs ?? this.#context.timeoutMs;
    const deadlineMs = Date.now() + timeoutMs;
    const call = { isOver: false };
    const start = async (): Promise<Uint8Array> => {
      this.#requireOpen();
      const { bus } = this.#context;
      bus.identity.require();
      const record = await bus.keys.activeRecord(keyId, this.token);
      return await run(record, bus.keys.group(record), { deadlineMs, call });
    };
    try {
      return await within(start(), {
        deadlineMs: deadlineMs + graceMs,
        signal: options.signal,
        late: () => new HsmError("ERR_DEADLINE", `no signature within ${timeoutMs} ms`),
      });
    } finally {
      call.isOver = true;
    }
  }

  /** One input's turn with others of its kind: x^d of what the input encodes to. */
  #power(
    record: KeyRecord,
    group: GroupKey,
    input: Wish,
    salt: Uint8Array | undefined,
    limits: Limits,
  ): Promise<Uint8Array> {
    const encoded = encodeMessage(group, { ...input, ...(salt === undefined ? {} : { salt }) });
    return new Promise((resolve, reject) => {
      const item: Item = { data: input.data, encoded, salt, ...limits, resolve, reject };
      this.#batcher(record, group, input).add(item);
    });
  }

  /** The dealer's proof that a proposed key signs. */
  async test(record: KeyRecord, digest: Uint8Array, deadlineMs: number): Promise<Outcome> {
    const group = this.#context.bus.keys.group(record);
    const encoded = encodeMessage(group, { encoding: "pkcs1v15", hash: "sha256", data: digest });
    const item = { data: digest, encoded, salt: undefined };
    const outcome = await this.#run(
      "test",
      record,
      group,
      "pkcs1v15",
      "sha256",
      [item],
      deadlineMs,
    );
    await this.#openedBy(deadlineMs);
    return outcome;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Runs first, then their results, so that the closing is the session's last word. */
  async #close(): Promise<void> {
    const patienceMs = isConnected(this.#context.bus.connection) ? closeMs : 0;
    await atMost(patienceMs, this.#runs);
    this.#ending.abort();
    await atMost(patienceMs, [...this.#runs, ...this.#unsettled]);
    const isFreed = (): boolean => this.#freed.includes(this.#requests);
    while (this.#requests > 0 && isFreed()) this.#requests -= 1;
    try {
      const closed = this.#event({ type: "session-closed", requests: this.#requests });
      await atMost(patienceMs, [this.#opened()]);
      const { publisher } = this.#context.bus;
      await publisher.publish(closed, { timeoutMs: Math.max(1, patienceMs) });
    } catch (error) {
      this.#context.bus.log.warn({ session: this.id, error: describeError(error) }, "not closed");
    }
    this.#context.onClosed?.();
  }

  #openedBy(deadlineMs: number): Promise<unknown> {
    return within(this.#opened(), { deadlineMs, late: () => unacknowledged(this.#openedEvent) });
  }

  /** The opening on record. After an outage it is tried again, with the same bytes. */
  #opened(): Promise<unknown> {
    this.#opening ??= this.#context.bus.publisher
      .publish(this.#openedEvent)
      .catch((error: unknown) => {
        this.#opening = undefined;
        throw error;
      });
    return this.#opening;
  }

  #batcher(record: KeyRecord, group: GroupKey, input: Wish): Batcher {
    const lane = `${record.keyId} ${input.encoding} ${input.hash ?? ""}`;
    const known = this.#batchers.get(lane);
    if (known !== undefined) return known;
    // A lane is made again when it is needed: keys come and go.
    for (const [name, one] of this.#batchers) if (one.isIdle) this.#batchers.delete(name);
    const { window, batch } = this.#context;
    const perInput = group.modulusLength;
    const batcher = new Batcher({
      window,
      batch: Math.max(
        1,
        Math.min(batch, record.proposal.maxInputs, Math.floor(maxInputBytes / (2 * perInput))),
      ),
      sign: async (items) => {
        const deadlineMs = Math.max(...items.map((item) => item.deadlineMs));
        const { encoding, hash } = input;
        const run = this.#run("sign", record, group, encoding, hash, items, deadlineMs);
        const { signatures } = await run;
        await this.#openedBy(deadlineMs);
        return signatures;
      },
    });
    this.#batchers.set(lane, batcher);
    return batcher;
  }

  async #run(
    kind: RequestKind,
    record: KeyRecord,
    group: GroupKey,
    encoding: string,
    hash: string | undefined,
    items: readonly Pick<Item, "data" | "encoded" | "salt">[],
    deadlineMs: number,
  ): Promise<Outcome> {
    const { bus } = this.#context;
    const { signal } = this.#ending;
    if (signal.aborted) throw new HsmError("ERR_ABORTED", "the session was closed");
    const salts = items.flatMap(({ salt }) => salt ?? []);
    const work: Work = {
      kind,
      record,
      group,
      encoding,
      hash,
      inputs: items.map(({ data }) => data),
      salts: encoding === "pss" ? salts : undefined,
      encoded: items.map(({ encoded }) => encoded),
      deadlineMs,
    };
    const run = new SigningRun(work, {
      session: this.id,
      collector: bus.collector,
      health: bus.health,
      log: bus.log,
      signal,
      publish: (fields, untilMs) => this.#publishRequest(fields, untilMs),
    });
    const head = { key: record.keyId, epoch: record.proposal.epoch };
    const running = run.run();
    track(this.#runs, running);
    try {
      const outcome = await running;
      this.#record({
        type: "result",
        rid: outcome.rid,
        ...head,
        quorum: outcome.quorum,
        signatures: outcome.signatures.map(toBase64url),
        ...blame(record, outcome),
        elapsedMs: outcome.elapsedMs,
      });
      return outcome;
    } catch (error) {
      const code = error instanceof HsmError ? error.code : "ERR_INTERNAL";
      const reason = describeError(error).slice(0, 400);
      if (run.rid !== "") {
        this.#record({ type: "failure", rid: run.rid, key: record.keyId, code, reason });
      }
      throw error;
    }
  }

  #publishRequest(
    fields: RequestFields,
    deadlineMs: number,
  ): { hash: string; stored: Promise<unknown> } {
    const { bus, client } = this.#context;
    const { kind, rid, ...rest } = fields;
    const subject = formatSubject({ kind: "request", client, session: this.id, rid });
    const seq = this.#freed.at(-1) ?? this.#requests + 1;
    const message = signMessage(bus.identity.require(), streamNames.requests, subject, {
      version: formatVersion,
      // First what a reader looks for.
      kind,
      client,
      session: this.id,
      seq,
      rid,
      ...rest,
    });
    // Only a request that is really sent takes a number.
    if (this.#freed.pop() === undefined) this.#requests = seq;
    const publication = bus.publisher
      .publish(message, { timeoutMs: recordMs })
      .catch((error: unknown) => {
        if (isRefusal(error)) this.#freed.push(seq);
        throw error;
      });
    track(this.#unsettled, publication);
    const stored = within(publication, { deadlineMs, late: () => unacknowledged(message) });
    return { hash: message.hash, stored };
  }

  /** Publishes an audit event without making the caller wait for it. */
  #record(event: object): void {
    const lost = (error: unknown): void => {
      const facts = { session: this.id, error: describeError(error) };
      this.#context.bus.log.error(facts, "audit event lost");
    };
    try {
      const stored = this.#context.bus.publisher.publish(this.#event(event), {
        timeoutMs: recordMs,
      });
      track(this.#unsettled, stored.catch(lost));
    } catch (error) {
      lost(error);
    }
  }

  /** @throws HsmError `ERR_NOT_LOGGED_IN` */
  #event(event: object): SignedMessage {
    const { bus, client } = this.#context;
    const subject = formatSubject({ kind: "client-audit", client, session: this.id });
    const n = this.#chain.n + 1;
    const message = signMessage(bus.identity.require(), streamNames.audit, subject, {
      version: sessionEventVersion,
      client,
      session: this.id,
      ...event,
      time: new Date().toISOString(),
      n,
      prev: this.#chain.hash,
    });
    this.#chain = { n, hash: message.hash };
    return message;
  }

  #requireOpen(): void {
    if (this.#closing !== undefined)
      throw new HsmError("ERR_INVALID_ARGUMENT", "the session is closed");
  }
}

function saltFor({ encoding, hash, saltLength }: SignInput): Uint8Array | undefined {
  if (encoding !== "pss") return undefined;
  const length = saltLength ?? hashLengths[hash ?? "sha256"];
  if (!Number.isInteger(length) || length < 0 || length > longestSalt) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `expected 0…${longestSalt} bytes of salt`);
  }
  return randomBytes(length);
}

function unacknowledged({ stream }: SignedMessage): HsmError {
  return new HsmError("ERR_BROKER_UNREACHABLE", `no acknowledgement from ${stream} in time`);
}

/** Whether the broker said that it has not stored a message, and not merely nothing. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof HsmError && (error.code === "ERR_STREAM_FULL" || error.code === "ERR_BROKER")
  );
}

/** Keeps a promise in a set until it settles. Its failure is somebody else's to see. */
function track(set: Set<Promise<unknown>>, promise: Promise<unknown>): void {
  set.add(promise);
  const leave = (): void => void set.delete(promise);
  promise.then(leave, leave);
}

async function atMost(timeMs: number, promises: Iterable<Promise<unknown>>): Promise<void> {
  let timer;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeMs);
  });
  await Promise.race([Promise.allSettled(promises), late]);
  clearTimeout(timer);
}

function blame(record: KeyRecord, { accusations }: Outcome): object {
  if (accusations.length === 0) return {};
  return {
    culprits: accusations.map(({ party }) => record.proposal.parties[party - 1]),
    evidence: accusations.map(({ hash }) => hash),
  };
}
