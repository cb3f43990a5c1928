/**
 * @module One request until its signatures: ask the k parties that should be fastest, and when one
 * is late, refuses or lies, ask others by a second request. Nothing is asked twice of a node that
 * may still answer: its durable consumer keeps the request for it.
 */
import { randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import { toBase64url, toHex } from "../identity/encoding.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { SignedMessage } from "../streams/envelope.js";
import type { ShareMessage } from "../streams/shares.js";
import type { Trouble } from "./blame/inquiry.js";
import { compareClocks } from "./clocks.js";
import type { Answer } from "./collector.js";
import { QuorumTracker, type Combined } from "./quorum-tracker.js";
import { quorumError, shortfallError, type Refusal, type Shortfall } from "./shortfall.js";
import { whomToAsk } from "./whom-to-ask.js";
import type { Outcome, RunContext, Work } from "./work.js";

interface Attempt {
  readonly rid: string;
  readonly message: SignedMessage;
  readonly parties: readonly number[];
  readonly atMs: number;
}

const tickMs = 50;
/** How often the stream is searched for answers that the subscription may have missed. */
const searchMs = 1000;

export class SigningRun {
  readonly #work: Work;
  readonly #context: RunContext;
  readonly #tracker: QuorumTracker;
  readonly #attempts: Attempt[] = [];
  readonly #refusals = new Map<number, Refusal>();
  readonly #waitingFor = new Map<number, number>();
  /** Each party's first answer with shares. */
  readonly #answers = new Map<number, Answer>();
  readonly #startedMs = Date.now();
  readonly #done: Promise<Combined>;
  #finish!: (combined: Combined) => void;
  #fail!: (error: Error) => void;
  #isDone = false;
  #unstored: Promise<unknown>[] = [];
  /** A request of this run is acknowledged. */
  #isRecorded = false;
  #timer: NodeJS.Timeout | undefined;
  #nextSearchMs = Date.now() + searchMs;

  constructor(work: Work, context: RunContext) {
    this.#work = work;
    this.#context = context;
    const { keyId, proposal } = work.record;
    const proof = proposal.proofs === "always" ? { keyId, epoch: proposal.epoch } : undefined;
    this.#tracker = new QuorumTracker(work.group, work.encoded, proof);
    this.#done = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
  }

  /** Id of the first request; defined once the run has started. */
  get rid(): string {
    return this.#attempts[0]?.rid ?? "";
  }

  /**
   * @throws QuorumError, or HsmError with the code of a refusal when so many parties refused that
   * no quorum is left; `ERR_STREAM_FULL`, `ERR_BROKER_UNREACHABLE` of the publication
   */
  async run(): Promise<Outcome> {
    const { signal, collector } = this.#context;
    const abort = (): void => this.#fail(new HsmError("ERR_ABORTED", "the session was closed"));
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      this.#ask(this.#work.group.threshold);
      this.#timer = setInterval(() => this.#tick(), tickMs);
      const combined = await this.#done;
      // The signature counts only when its requests are on record.
      await Promise.all(this.#unstored);
      return {
        ...combined,
        rid: this.rid,
        elapsedMs: Date.now() - this.#startedMs,
      };
    } finally {
      this.#isDone = true;
      clearInterval(this.#timer);
      signal.removeEventListener("abort", abort);
      for (const { rid } of this.#attempts) collector.forget(rid);
      this.#stopWaiting();
    }
  }

  /** The answers of a quorum, each with its request: what the signatures rest on. */
  contributions(quorum: readonly number[]): [Answer, SignedMessage][] {
    return quorum.flatMap((party) => {
      const answer = this.#answers.get(party);
      const attempt = this.#attempts.find(({ message }) => message.hash === answer?.body.request);
      return answer === undefined || attempt === undefined ? [] : [[answer, attempt.message]];
    });
  }

  /** What went wrong with the shares, once the run has ended; undefined when nothing did. */
  get trouble(): Trouble | undefined {
    const { accusations, suspects } = this.#tracker;
    if (accusations.length + suspects.length === 0) return undefined;
    return {
      record: this.#work.record,
      terms: this.#terms(),
      rid: this.rid,
      session: this.#context.session,
      requests: this.#attempts.map(({ message }) => message),
      answers: [...this.#answers.values()],
      accused: accusations,
      suspects,
    };
  }

  /** Asks `count` more parties. With nobody left to ask, the run waits for those already asked. */
  #ask(count: number): void {
    const { health, collector, publish, book, log } = this.#context;
    const { record, kind, inputs, deadlineMs } = this.#work;
    const open = this.#open();
    if (count === 0 || open.length === 0) return;
    const chosen = whomToAsk({
      open: health.rank(open.map((party) => this.#nodeOf(party))),
      wanted: count,
      missing: this.#missing(0),
      hopeful: this.#hopeful(),
      isCulprit: (node) => book.isCulprit(node),
    });
    if (chosen.length === 0) return;
    const parties = chosen
      .map((node) => record.proposal.parties.indexOf(node) + 1)
      .toSorted((a, b) => a - b);
    const rid = toBase64url(randomBytes(16));
    for (const node of chosen.filter((one) => book.isCulprit(one))) {
      log.warn({ node, rid }, "a culprit is asked: there is no quorum without it");
    }
    const fields = {
      ...this.#terms(),
      kind,
      rid,
      parties,
      expires: new Date(deadlineMs).toISOString(),
      attempt: this.#attempts.length + 1,
      of: this.#attempts[0]?.rid,
    };
    let published;
    try {
      published = publish(fields, deadlineMs);
    } catch (error) {
      // The identity may have been locked meanwhile. We may be called by a timer: do not throw.
      this.#failBy(error);
      return;
    }
    const { message, stored } = published;
    collector.expect(rid, (answer) => this.#take(answer));
    this.#unstored.push(stored);
    void this.#awaitRecord(stored);
    const atMs = Date.now();
    this.#attempts.push({ rid, message, parties, atMs });
    for (const party of parties) {
      this.#waitingFor.set(party, atMs);
      health.asked(this.#nodeOf(party), inputs.length);
    }
  }

  async #awaitRecord(stored: Promise<unknown>): Promise<void> {
    try {
      await stored;
      this.#isRecorded = true;
    } catch (error) {
      this.#failBy(error);
    }
  }

  /** What is to be signed, as every request of the run says it. */
  #terms(): Readonly<Record<string, unknown>> {
    const { record, encoding, hash, inputs, salts } = this.#work;
    return {
      key: record.keyId,
      epoch: record.proposal.epoch,
      algorithm: record.proposal.algorithm,
      scheme: record.proposal.scheme,
      encoding,
      hash,
      inputs: inputs.map(toHex),
      salts: salts?.map(toHex),
    };
  }

  #take(answer: Answer): void {
    if (this.#isDone) return;
    const { body } = answer;
    const { record } = this.#work;
    const attempt = this.#attempts.find(({ rid }) => rid === body.rid);
    const isOurs =
      attempt !== undefined &&
      attempt.message.hash === body.request &&
      attempt.parties.includes(body.party) &&
      body.key === record.keyId &&
      body.epoch === record.proposal.epoch &&
      this.#nodeOf(body.party) === body.node;
    if (!isOurs) {
      this.#context.log.warn({ node: body.node, rid: body.rid }, "answer to another question");
      this.#suspect(answer, attempt?.message);
      return;
    }
    // A party's first answer counts.
    if (this.#refusals.has(body.party) || this.#tracker.hasAnswered(body.party)) return;
    if (this.#waitingFor.delete(body.party)) {
      const elapsedMs = Date.now() - attempt.atMs;
      this.#context.health.answered(body.node, this.#work.inputs.length, elapsedMs);
    }
    if (body.kind === "refusal") this.#refused(body);
    else {
      this.#answers.set(body.party, answer);
      this.#tracker.add(body.party, answer);
    }
    this.#advance();
  }

  #refused({ party, code = "ERR_INTERNAL", reason: said = "", time }: ShareMessage): void {
    const node = this.#nodeOf(party);
    let reason = said === "" ? "no reason given" : said;
    if (code === "ERR_EXPIRED") reason += `; ${compareClocks(node, Date.parse(time) - Date.now())}`;
    this.#refusals.set(party, { code, reason });
    this.#context.log.warn({ node, rid: this.rid, code, reason }, "node refused");
  }

  #advance(): void {
    let combined;
    try {
      combined = this.#tracker.tryCombine();
    } catch (error) {
      this.#failBy(error);
      return;
    }
    if (combined !== undefined) {
      this.#isDone = true;
      this.#finish(combined);
      return;
    }
    const possible = this.#open().length + this.#waitingFor.size;
    if (this.#tracker.contributors + possible < this.#work.group.threshold) {
      this.#fail(shortfallError(this.#shortfall));
      return;
    }
    if (possible === 0) {
      const text = "all nodes answered, but too many of them wrongly";
      this.#fail(new HsmError("ERR_COMBINE_FAILED", text));
      return;
    }
    this.#ask(this.#missing(this.#waitingFor.size));
  }

  /** Holders that have neither answered nor refused, and are not asked. */
  #open(): number[] {
    return holdersOf(this.#work.record).filter(
      (party) =>
        !this.#waitingFor.has(party) &&
        !this.#refusals.has(party) &&
        !this.#tracker.hasAnswered(party),
    );
  }

  /** How many more parties to ask while `coming` answers are expected. */
  #missing(coming: number): number {
    const short = this.#work.group.threshold - this.#tracker.contributors;
    if (short > 0) return Math.max(0, short - coming);
    // k answers came and do not combine: one more party decides who lies.
    return coming === 0 ? 1 : 0;
  }

  #tick(): void {
    const now = Date.now();
    if (this.#isDone) return;
    if (now >= this.#work.deadlineMs) {
      // Without any acknowledgement no node can have heard: the publication tells that, at this deadline too.
      if (this.#isRecorded) this.#fail(quorumError(this.#shortfall));
      return;
    }
    const late = [...this.#waitingFor.keys()].filter((party) => this.#isLate(party, now));
    if (late.length > 0) this.#ask(this.#missing(this.#waitingFor.size - late.length));
    if (now >= this.#nextSearchMs) this.#search(now);
  }

  #isLate(party: number, now: number): boolean {
    const { health } = this.#context;
    const waitedMs = now - (this.#waitingFor.get(party) ?? now);
    const isDead = waitedMs > tickMs && !health.isAlive(this.#nodeOf(party));
    return isDead || waitedMs > health.patienceMs;
  }

  /** Parties asked that are still worth waiting for before a culprit is: until half of the time is over. */
  #hopeful(): number {
    const { health, book } = this.#context;
    const now = Date.now();
    const isEarly = now - this.#startedMs < this.#work.deadlineMs - now;
    return [...this.#waitingFor.keys()].filter((party) => {
      const node = this.#nodeOf(party);
      if (book.isCulprit(node)) return !this.#isLate(party, now);
      return isEarly && health.isAlive(node);
    }).length;
  }

  #search(now: number): void {
    this.#nextSearchMs = now + searchMs;
    const { collector, session } = this.#context;
    for (const { rid, parties } of this.#attempts) {
      for (const party of parties) {
        if (!this.#waitingFor.has(party)) continue;
        // An unreachable broker is the deadline's business.
        collector.fetch(this.#nodeOf(party), session, rid).catch(() => undefined);
      }
    }
  }

  #stopWaiting(): void {
    const now = Date.now();
    const { health } = this.#context;
    for (const [party, atMs] of this.#waitingFor) {
      const isTold = health.gaveUp(this.#nodeOf(party), this.#work.inputs.length, now - atMs);
      if (isTold) this.#chargeSilent(party);
    }
    this.#waitingFor.clear();
  }

  /** By a request that it left without an answer: provable to nobody, for the answer may have been lost on its way. */
  #chargeSilent(party: number): void {
    const node = this.#nodeOf(party);
    const asked = this.#attempts.find(({ parties }) => parties.includes(party));
    if (asked === undefined) return;
    this.#context.book.charge({
      node,
      verdict: "suspect",
      code: "silent",
      text: `node ${node} lives, and did not answer several requests in a row in time`,
      evidence: [asked.message.hash],
      messages: [asked.message],
      rid: asked.rid,
      key: this.#work.record.keyId,
      party,
    });
  }

  #failBy(error: unknown): void {
    this.#fail(error instanceof Error ? error : new Error(String(error)));
  }

  /** Signed by the node, and about something else: seen, but provable to nobody. */
  #suspect({ body, hash, message }: Answer, request: SignedMessage | undefined): void {
    this.#context.book.charge({
      node: body.node,
      verdict: "suspect",
      code: "wrong-answer",
      text: `node ${body.node} answered request ${body.rid} with what belongs to another request, key or party`,
      evidence: [hash],
      messages: [...(request === undefined ? [] : [request]), message],
      rid: body.rid,
      key: body.key,
    });
  }

  #nodeOf(party: number): string {
    return this.#work.record.proposal.parties[party - 1] ?? "";
  }

  get #shortfall(): Shortfall {
    const { record, group } = this.#work;
    const { threshold, parties } = group;
    const nodes = (ofParties: Iterable<number>): string[] =>
      [...ofParties].map((party) => this.#nodeOf(party));
    return {
      threshold,
      parties,
      holders: holdersOf(record).length,
      contributors: this.#tracker.contributors,
      refusals: new Map([...this.#refusals].map(([party, one]) => [this.#nodeOf(party), one])),
      wrong: nodes(this.#tracker.accusations.map(({ party }) => party)),
      silent: nodes(this.#waitingFor.keys()),
      notAsked: nodes(this.#open()),
      waitedMs: Date.now() - this.#startedMs,
    };
  }
}

function holdersOf(record: KeyRecord): readonly number[] {
  return record.state === "active" ? record.holders : [...record.accepted];
}
