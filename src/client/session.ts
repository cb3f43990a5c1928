/**
 * @module A session: one application's connection to one token. Publishes its opening, its
 * numbered requests, their results and its closing.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { describeError, HsmError } from "../errors.js";
import { toBase64url } from "../identity/encoding.js";
import { blind, encodeMessage, type EncodingInput, type GroupKey } from "../scheme/index.js";
import { isConnected } from "../streams/connection.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { RequestKind } from "../streams/requests.js";
import type { CallOptions, DecryptInput, SignInput, SigningSession } from "./api.js";
import { Batcher, type Item } from "./batcher.js";
import { inquire, type Trouble } from "./blame/inquiry.js";
import type { Bus } from "./bus.js";
import { Outage } from "./outage.js";
import { hashLengths, requirePadding, unpad } from "./padding.js";
import { atMost, SessionRecord, track } from "./session-record.js";
import { SigningRun } from "./signing-run.js";
import { within } from "./within.js";
import type { Outcome, RunContext, Work } from "./work.js";

/** Room for the requests' other fields below the stream's limit of a message. */
const maxInputBytes = 24 * 1024;
const closeMs = 2000;
/** A run ends by its own deadline and says who was silent; this is for calls that wait behind it. */
const graceMs = 150;
/** How long a call tries while it is known that no quorum is there. */
const outageMs = 2000;
const longestSalt = 64;
/** Time enough for threads that were answered together to call again; little beside what a signature takes. */
const mostGatherMs = 10;

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
  readonly #ending = new AbortController();
  readonly #record: SessionRecord;
  readonly #outage = new Outage();
  #closing: Promise<void> | undefined;

  constructor(context: SessionContext, token: string, application: string) {
    this.#context = context;
    this.token = token;
    // Every run under way listens to it.
    setMaxListeners(0, this.#ending.signal);
    this.#record = new SessionRecord(context.bus, context.client, this.id, token, application);
    // Not awaited here: the first signature's acknowledgements wait for it.
    this.#record.opened().catch(() => undefined);
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
      const group = bus.keys.group(record);
      if (!this.#isOutage(record)) {
        this.#outage.over();
        return await run(record, group, { deadlineMs, call });
      }
      const soonMs = Math.min(deadlineMs, Date.now() + outageMs);
      return await this.#outage.during(() => run(record, group, { deadlineMs: soonMs, call }));
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

  /** Whether so few of the key's nodes were heard of lately that they are no quorum. */
  #isOutage({ proposal }: KeyRecord): boolean {
    const { health } = this.#context.bus;
    const present = proposal.parties.filter((node) => !health.isGone(node));
    return present.length < proposal.threshold;
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
    await this.#record.openedBy(deadlineMs);
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
    await atMost(patienceMs, this.#runs);
    await this.#record.close(patienceMs);
    this.#context.onClosed?.();
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
      gatherMs: (meanMs) => Math.min(mostGatherMs, meanMs / 10),
      sign: async (items) => {
        const deadlineMs = Math.max(...items.map((item) => item.deadlineMs));
        const { encoding, hash } = input;
        const run = this.#run("sign", record, group, encoding, hash, items, deadlineMs);
        const { signatures } = await run;
        await this.#record.openedBy(deadlineMs);
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
    /** Of all requests over it, those for an explanation included. */
    const rids: string[] = [];
    const publish: RunContext["publish"] = (fields, untilMs) => {
      rids.push(fields.rid);
      return this.#record.request(fields, untilMs);
    };
    const run = new SigningRun(work, {
      session: this.id,
      collector: bus.collector,
      health: bus.health,
      book: bus.book,
      log: bus.log,
      signal,
      publish,
    });
    const head = { key: record.keyId, epoch: record.proposal.epoch };
    const running = run.run();
    track(this.#runs, running);
    try {
      const outcome = await running;
      for (const one of run.contributions(outcome.quorum)) bus.storedCheck.watch(...one);
      const result = {
        type: "result",
        rid: outcome.rid,
        ...head,
        quorum: outcome.quorum,
        signatures: outcome.signatures.map(toBase64url),
        elapsedMs: outcome.elapsedMs,
      };
      const tell = (): void => this.#record.say({ ...result, ...bus.book.namedOver(rids) });
      const { trouble } = run;
      if (trouble === undefined) tell();
      else this.#inquire(trouble, publish, tell);
      return outcome;
    } catch (error) {
      const code = error instanceof HsmError ? error.code : "ERR_INTERNAL";
      const reason = describeError(error).slice(0, 400);
      if (run.rid !== "") {
        this.#record.say({ type: "failure", rid: run.rid, key: record.keyId, code, reason });
      }
      const { trouble } = run;
      if (trouble !== undefined) this.#inquire(trouble, publish);
      throw error;
    }
  }

  /** Finds out who lied while nobody waits, and has it told. */
  #inquire(trouble: Trouble, publish: RunContext["publish"], tell?: () => void): void {
    const { bus } = this.#context;
    const inquiry = inquire(trouble, {
      cluster: bus.cluster,
      keys: bus.keys,
      collector: bus.collector,
      book: bus.book,
      signal: this.#ending.signal,
      publish,
    });
    const failed = (error: unknown): void =>
      bus.log.error({ session: this.id, error: describeError(error) }, "inquiry failed");
    track(this.#runs, inquiry.catch(failed).then(tell));
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
