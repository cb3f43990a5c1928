/**
 * @module From a stored request to its one answer: who asks, for what, with which key; shares or a
 * refusal with its reason; journal, stream, acknowledgement, in that order.
 */
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { toBase64url } from "../identity/encoding.js";
import type { Logger } from "../log.js";
import type { Delivery } from "../streams/consume.js";
import type { StoredMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import { readRequest, verifySender } from "../streams/open.js";
import type { SignRequest } from "../streams/requests.js";
import type { ShareMessage } from "../streams/shares.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import { parseJson } from "../validate.js";
import type { Answer, Answers } from "./answers.js";
import type { Checkpoints } from "./checkpoints.js";
import type { HistoryGuard } from "./history-guard.js";
import type { IgnoredMessages } from "./ignored.js";
import { readEntry } from "./journal-segments.js";
import type { KeyDirectory, KeyEntry } from "./key-directory.js";
import type { KeyStore } from "./key-store.js";
import type { Outbox, Said } from "./outbox.js";
import { encodeInputs, requireAllowed, requireTimely } from "./policy.js";
import type { RateLimits } from "./rate-limits.js";
import type { SigningKeys } from "./signing-keys.js";
import type { PoolKey, SigningPool } from "./signing-pool.js";

const retryMs = 1000;
const longestReason = 400;

export interface RequestHandlerOptions {
  readonly node: string;
  readonly cluster: Cluster;
  readonly directory: KeyDirectory;
  readonly store: KeyStore;
  readonly keys: SigningKeys;
  readonly pool: SigningPool;
  readonly rates: RateLimits;
  readonly answers: Answers;
  readonly outbox: Outbox;
  readonly ignored: IgnoredMessages;
  readonly log: Logger;
  readonly maxRequestLifetimeMs: number;
  readonly clockToleranceMs: number;
  readonly guard: Pick<HistoryGuard, "see" | "require" | "breach">;
  /** Requests up to this one were stored before the start. By number: the server's clock is another one. */
  readonly requestsBefore: number;
  readonly checkpoints: Pick<Checkpoints, "requireSigned">;
  /** Reads THSM_KEY to its end. */
  readonly catchUp: () => Promise<void>;
  readonly now: () => number;
}

/** What an answer says, apart from whom it answers. */
type Content = Pick<ShareMessage, "kind" | "shares" | "proofs" | "code" | "reason">;

export class RequestHandler {
  readonly #options: RequestHandlerOptions;
  readonly #inWork = new Set<Promise<void>>();

  constructor(options: RequestHandlerOptions) {
    this.#options = options;
  }

  /** Takes a request; many are handled side by side. */
  handle(delivery: Delivery): void {
    const work = this.#handle(delivery).catch((error: unknown) => {
      const { log } = this.#options;
      log.warn({ seq: delivery.message.seq, error: describeError(error) }, "cannot answer now");
      delivery.retry(retryMs);
    });
    this.#inWork.add(work);
    void work.then(() => this.#inWork.delete(work));
  }

  /** Resolves when everything taken is answered and on its stream. */
  async idle(): Promise<void> {
    while (this.#inWork.size > 0) await Promise.all(this.#inWork);
  }

  async #handle(delivery: Delivery): Promise<void> {
    const { answers, ignored } = this.#options;
    const { message } = delivery;
    let request: SignRequest;
    try {
      const plain = parseJson(message.payload);
      if (this.#isOthers(plain)) {
        delivery.ack();
        return;
      }
      request = readRequest(message, plain);
    } catch (error) {
      ignored.count("ERR_INVALID_MESSAGE", describeError(error));
      delivery.ack();
      return;
    }
    const before = answers.get(message.subject);
    if (before !== undefined) {
      await this.#repeat(before, delivery);
      return;
    }
    const answer = this.#answer(message, request);
    const said = answer.then((one) => one?.entry);
    // Who waits for it hears of a failure; so does this delivery, below.
    said.catch(() => undefined);
    const remembered = { request: message.hash, until: this.#until(request) };
    answers.set(message.subject, { ...remembered, said });
    try {
      const given = await answer;
      await given?.stored;
      if (given === undefined) answers.delete(message.subject);
      else answers.set(message.subject, { ...remembered, said: given.entry.place });
    } catch (error) {
      answers.delete(message.subject);
      throw error;
    }
    delivery.ack();
  }

  /** Many requests ask other parties. Those cost neither a validation nor a signature check. */
  #isOthers(plain: unknown): boolean {
    if (typeof plain !== "object" || plain === null || !("key" in plain) || !("parties" in plain)) {
      return false;
    }
    const key = typeof plain.key === "string" ? this.#options.directory.find(plain.key) : undefined;
    return key !== undefined && Array.isArray(plain.parties) && !plain.parties.includes(key.party);
  }

  /** The same request again: the same bytes again, never a second answer. */
  async #repeat(given: Answer, delivery: Delivery): Promise<void> {
    const { ignored, outbox } = this.#options;
    const { message } = delivery;
    if (given.request !== message.hash) {
      // The subject is written once, so the stream has lost a message and reused its place.
      ignored.count("ERR_CONFLICT", `another request on ${message.subject}`);
    } else {
      const entry = "path" in given.said ? await readEntry(given.said) : await given.said;
      if (entry !== undefined) await outbox.publish(entry);
    }
    delivery.ack();
  }

  /** Undefined when the request is not worth an answer. */
  async #answer(message: StoredMessage, request: SignRequest): Promise<Said | undefined> {
    const { cluster, directory, catchUp, guard, ignored, outbox, node } = this.#options;
    try {
      verifySender(cluster, message, request, "client");
    } catch (error) {
      const isOurs = error instanceof HsmError;
      ignored.count(isOurs ? error.code : "ERR_INTERNAL", describeError(error));
      return undefined;
    }
    guard.see(message);
    let key = directory.find(request.key);
    // In a history that is broken there is nothing to catch up with.
    const isLate = key === undefined || key.state === "proposed";
    if (isLate && guard.breach === undefined) {
      // Its events may be on the stream and not yet here.
      await catchUp();
      key = directory.find(request.key);
    }
    if (key === undefined || !key.isAuthorised) {
      ignored.count("ERR_UNKNOWN_KEY", `a request for key ${request.key}`);
      return undefined;
    }
    if (!request.parties.includes(key.party)) return undefined;
    if (
      message.seq <= this.#options.requestsBefore &&
      !(Date.parse(request.expires) > this.#options.now())
    ) {
      // It expired while this node was away: nobody waits to hear why.
      ignored.count("ERR_EXPIRED", `expired ${request.expires}`);
      return undefined;
    }
    const content = await this.#decide(message, request, key);
    const { client, session, rid } = request;
    const body: Omit<ShareMessage, "n" | "prev"> = {
      version: formatVersion,
      node,
      party: key.party,
      client,
      session,
      rid,
      key: request.key,
      epoch: request.epoch,
      ...content,
      request: message.hash,
      reqSeq: message.seq,
      time: new Date(this.#options.now()).toISOString(),
    };
    return await outbox.say(
      streamNames.shares,
      formatSubject({ kind: "share", node, client, session, rid }),
      body,
    );
  }

  async #decide(message: StoredMessage, request: SignRequest, key: KeyEntry): Promise<Content> {
    const { cluster, store, pool, rates, guard, checkpoints, now, log } = this.#options;
    const { maxRequestLifetimeMs } = this.#options;
    const storedAt = Date.parse(message.time);
    const check = (): void => {
      guard.require();
      requireTimely(request, { now: now(), storedAt, maxRequestLifetimeMs });
      requireAllowed(request, key, cluster);
      if (request.encoding === "checkpoint") checkpoints.requireSigned(request.inputs);
      if (!store.has(request.key)) {
        throw new HsmError("ERR_KEY_NOT_ACTIVE", "this node holds no share of the key");
      }
    };
    try {
      check();
      // A key signs its test once, before anybody may use it.
      if (request.kind !== "test") await rates.take(key, request.inputs.length);
      const encodedMessages = encodeInputs(request, key);
      const isProven = request.kind === "explain" || key.record.proofs === "always";
      const proof = { keyId: request.key, epoch: request.epoch };
      const signed = await pool.sign({
        key: await this.#poolKey(key),
        encodedMessages,
        ...(isProven ? { proof } : {}),
        obstacle: () => obstacle(check),
      });
      // The key may have died, and the request expired, while the threads worked.
      check();
      return {
        kind: request.kind === "explain" ? "explanation" : "shares",
        shares: signed.shares.map((share) => toBase64url(share)),
        ...(isProven ? { proofs: signed.proofs.map((one) => toBase64url(one)) } : {}),
      };
    } catch (error) {
      if (error instanceof HsmError) {
        return { kind: "refusal", code: error.code, reason: error.message.slice(0, longestReason) };
      }
      log.error({ key: request.key, error: describeError(error) }, "signing failed");
      return {
        kind: "refusal",
        code: "ERR_INTERNAL",
        reason: "signing failed; see the node's log",
      };
    }
  }

  async #poolKey(key: KeyEntry): Promise<PoolKey> {
    try {
      return await this.#options.keys.get(key);
    } catch (cause) {
      const { log } = this.#options;
      log.error({ key: key.record.key, error: describeError(cause) }, "cannot load key share");
      // The sentence of the cause names files of this machine.
      throw new HsmError("ERR_INTERNAL", "this node cannot read its key share", { cause });
    }
  }

  #until(request: SignRequest): number {
    const { now, maxRequestLifetimeMs, clockToleranceMs } = this.#options;
    const longest = now() + maxRequestLifetimeMs;
    const expires = Date.parse(request.expires);
    return (expires < longest ? expires : longest) + clockToleranceMs;
  }
}

function obstacle(check: () => void): HsmError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof HsmError) return error;
    throw error;
  }
}
