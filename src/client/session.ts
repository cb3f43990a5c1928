/**
 * @module A session: one application's connection to one token. Publishes its opening, its
 * numbered requests, their results and its closing.
 */
import { randomBytes } from "node:crypto";
import { describeError, HsmError } from "../errors.js";
import { toBase64url } from "../identity/encoding.js";
import { encodeMessage, type GroupKey } from "../scheme/index.js";
import { signMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { RequestKind } from "../streams/requests.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { CallOptions, Hash, SignInput, SigningSession } from "./api.js";
import { Batcher, type Item } from "./batcher.js";
import type { Bus } from "./bus.js";
import { SigningRun, type Outcome, type RequestFields, type Work } from "./signing-run.js";

const hashLengths: Readonly<Record<Hash, number>> = {
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};
/** Room for the requests' other fields below the stream's limit of a message. */
const maxInputBytes = 24 * 1024;
const closeMs = 2000;

/** What a session needs of its client. */
export interface SessionContext {
  readonly bus: Bus;
  readonly client: string;
  readonly window: number;
  readonly batch: number;
  readonly timeoutMs: number;
}

export class Session implements SigningSession {
  readonly id: string = toBase64url(randomBytes(16));
  readonly token: string;
  readonly #context: SessionContext;
  readonly #batchers = new Map<string, Batcher>();
  readonly #unsettled = new Set<Promise<unknown>>();
  #requests = 0;
  #isClosed = false;
  readonly #opened: Promise<unknown>;

  constructor(context: SessionContext, token: string, application: string) {
    this.#context = context;
    this.token = token;
    // Not awaited here: the first signature's acknowledgements wait for it.
    this.#opened = this.#announce({
      type: "session-opened",
      token,
      application: application.slice(0, 200),
    });
    this.#opened.catch(() => undefined);
  }

  async sign(input: SignInput, options: CallOptions = {}): Promise<Uint8Array> {
    this.#requireOpen();
    const { bus, timeoutMs } = this.#context;
    const deadlineMs = Date.now() + (options.timeoutMs ?? timeoutMs);
    const record = await bus.keys.activeRecord(input.keyId, this.token);
    const group = bus.keys.group(record);
    const salt = saltFor(input);
    const encoded = encodeMessage(group, { ...input, ...(salt === undefined ? {} : { salt }) });
    return await new Promise((resolve, reject) => {
      const { signal } = options;
      const item: Item = {
        data: input.data,
        encoded,
        salt,
        deadlineMs,
        resolve,
        reject,
        isCancelled: false,
      };
      const cancel = (): void => {
        item.isCancelled = true;
        reject(new HsmError("ERR_ABORTED", "the caller gave up"));
      };
      if (signal?.aborted === true) {
        cancel();
        return;
      }
      signal?.addEventListener("abort", cancel, { once: true });
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
    await this.#opened;
    return outcome;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Results first, so that the closing is the session's last word.
    await Promise.race([
      Promise.allSettled(this.#unsettled),
      new Promise((resolve) => setTimeout(resolve, closeMs).unref()),
    ]);
    try {
      await this.#announce({ type: "session-closed", requests: this.#requests }, closeMs);
    } catch (error) {
      this.#context.bus.log.warn({ session: this.id, error: describeError(error) }, "not closed");
    }
  }

  #batcher(record: KeyRecord, group: GroupKey, input: SignInput): Batcher {
    const lane = `${input.keyId} ${input.encoding} ${input.hash ?? ""}`;
    const known = this.#batchers.get(lane);
    if (known !== undefined) return known;
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
        await this.#opened;
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
      publish: (fields, untilMs) => this.#publishRequest(fields, untilMs),
    });
    const head = { key: record.keyId, epoch: record.proposal.epoch };
    try {
      const outcome = await run.run();
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
    const subject = formatSubject({ kind: "request", client, session: this.id, rid: fields.rid });
    this.#requests += 1;
    const message = signMessage(bus.identity.require(), streamNames.requests, subject, {
      version: formatVersion,
      client,
      session: this.id,
      seq: this.#requests,
      ...fields,
    });
    const timeoutMs = Math.max(1, deadlineMs - Date.now());
    return { hash: message.hash, stored: bus.publisher.publish(message, { timeoutMs }) };
  }

  /** Publishes an audit event without making the caller wait for it. */
  #record(event: object): void {
    const stored = this.#announce(event)
      .catch((error: unknown) => {
        const facts = { session: this.id, error: describeError(error) };
        this.#context.bus.log.error(facts, "audit event lost");
      })
      .finally(() => this.#unsettled.delete(stored));
    this.#unsettled.add(stored);
  }

  async #announce(event: object, timeoutMs?: number): Promise<void> {
    const { bus, client } = this.#context;
    const subject = formatSubject({ kind: "client-audit", client, session: this.id });
    const message = signMessage(bus.identity.require(), streamNames.audit, subject, {
      version: formatVersion,
      client,
      session: this.id,
      ...event,
      time: new Date().toISOString(),
    });
    await bus.publisher.publish(message, timeoutMs === undefined ? {} : { timeoutMs });
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new HsmError("ERR_INVALID_ARGUMENT", "the session is closed");
  }
}

function saltFor({ encoding, hash, saltLength }: SignInput): Uint8Array | undefined {
  if (encoding !== "pss") return undefined;
  return randomBytes(saltLength ?? hashLengths[hash ?? "sha256"]);
}

function blame(record: KeyRecord, { accusations }: Outcome): object {
  if (accusations.length === 0) return {};
  return {
    culprits: accusations.map(({ party }) => record.proposal.parties[party - 1]),
    evidence: accusations.map(({ hash }) => hash),
  };
}
