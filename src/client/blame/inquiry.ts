/**
 * @module Who sent the wrong share? What the answers prove is charged at once; where they do not tell, all who
 * answered are asked for share proofs. The signature does not wait for this.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { toBase64url } from "../../identity/encoding.js";
import type { Cluster } from "../../identity/cluster.js";
import type { SignedMessage } from "../../streams/envelope.js";
import type { KeyRecord } from "../../streams/key-life.js";
import type { Answer, Collector } from "../collector.js";
import type { KeyDirectory } from "../key-directory.js";
import { weigh } from "../audit/evidence.js";
import type { BlameBook } from "./blame-book.js";

/** A signing in which some share was wrong. */
export interface Trouble {
  readonly record: KeyRecord;
  /** The fields that an explanation is asked for with: what was to be signed. */
  readonly terms: Readonly<Record<string, unknown>>;
  /** The first attempt's request id. */
  readonly rid: string;
  readonly session: string;
  readonly requests: readonly SignedMessage[];
  /** One of each party that answered with shares. */
  readonly answers: readonly Answer[];
  /** Parties whose shares are proven wrong, with what was wrong. */
  readonly accused: readonly { readonly party: number; readonly reason: string }[];
  /** Parties of whom one at least has lied. */
  readonly suspects: readonly number[];
}

export interface InquiryContext {
  readonly cluster: Cluster;
  readonly keys: KeyDirectory;
  readonly collector: Collector;
  readonly book: BlameBook;
  readonly publish: (
    fields: { kind: "explain"; rid: string },
    deadlineMs: number,
  ) => { message: SignedMessage; stored: Promise<unknown> };
  readonly signal: AbortSignal;
}

const explainMs = 4000;
const tickMs = 50;
const searchMs = 1000;

/** Charges who did it, or may have. */
export async function inquire(trouble: Trouble, context: InquiryContext): Promise<void> {
  const inquiry = new Inquiry(trouble, context);
  await inquiry.run();
}

class Inquiry {
  readonly #trouble: Trouble;
  readonly #context: InquiryContext;
  #explainRequest: SignedMessage | undefined;
  readonly #explanations = new Map<number, Answer>();

  constructor(trouble: Trouble, context: InquiryContext) {
    this.#trouble = trouble;
    this.#context = context;
  }

  async run(): Promise<void> {
    const { accused, suspects } = this.#trouble;
    const { book } = this.#context;
    const wrong = accused.map(({ party }) => this.#nodeOf(party));
    await book.during(wrong, this.#chargeAll());
    const asked = suspects.map((party) => this.#nodeOf(party));
    // Another signing's inquiry may have the answer sooner.
    await Promise.allSettled(asked.flatMap((node) => book.inquiryInto(node) ?? []));
    const open = suspects.filter((party) => !this.#isKnownLiar(party));
    if (open.length > 0) {
      const nodes = open.map((party) => this.#nodeOf(party));
      await book.during(nodes, this.#ask(open));
    }
  }

  /** A culprit already: its share is one more that does not fit. */
  #isKnownLiar(party: number): boolean {
    const isKnown = this.#context.book.isCulprit(this.#nodeOf(party));
    if (isKnown) this.#charge(party, "culprit", "wrong-share", "one more share that does not fit");
    return isKnown;
  }

  async #ask(open: readonly number[]): Promise<void> {
    if (!(await this.#explain())) return;
    const unclear: number[] = [];
    for (const party of open) if (!(await this.#tryProve(party))) unclear.push(party);
    if (unclear.length === open.length) {
      // Those in doubt have proven themselves, so it is one whom nobody doubted.
      const others = this.#trouble.answers.map(({ body }) => body.party);
      for (const party of others.filter((one) => !open.includes(one))) await this.#tryProve(party);
    }
    for (const party of unclear) if (!this.#explanations.has(party)) this.#suspect(party);
  }

  /** Asks all who answered. False when nobody will answer: the request did not get through. */
  async #explain(): Promise<boolean> {
    const { terms, rid: of, answers } = this.#trouble;
    const { collector, publish, signal } = this.#context;
    const rid = toBase64url(randomBytes(16));
    const parties = answers.map(({ body }) => body.party).toSorted((a, b) => a - b);
    const untilMs = Date.now() + explainMs;
    const expires = new Date(untilMs).toISOString();
    try {
      const fields = { ...terms, kind: "explain", rid, parties, expires, attempt: 1, of } as const;
      const { message, stored } = publish(fields, untilMs);
      this.#explainRequest = message;
      collector.expect(rid, (answer) => this.#take(answer, message, parties));
      await stored;
      let searchAtMs = Date.now() + searchMs;
      while (this.#explanations.size < parties.length && Date.now() < untilMs && !signal.aborted) {
        await delay(tickMs);
        if (Date.now() < searchAtMs) continue;
        searchAtMs = Date.now() + searchMs;
        for (const party of parties) {
          if (this.#explanations.has(party)) continue;
          const { session } = this.#trouble;
          collector.fetch(this.#nodeOf(party), session, rid).catch(() => undefined);
        }
      }
      return true;
    } catch {
      return false;
    } finally {
      collector.forget(rid);
    }
  }

  #take(answer: Answer, request: SignedMessage, parties: readonly number[]): void {
    const { party, node, request: bound, shares } = answer.body;
    const isOurs =
      bound === request.hash && parties.includes(party) && this.#nodeOf(party) === node;
    // A refusal proves nothing: it is no explanation.
    if (isOurs && shares !== undefined && !this.#explanations.has(party)) {
      this.#explanations.set(party, answer);
    }
  }

  /** Those whom the arithmetic of the quorum has proven wrong. */
  async #chargeAll(): Promise<void> {
    for (const { party, reason } of this.#trouble.accused) {
      // Unless the key's record cannot be read, it proves the same; what was seen is said in any case.
      if (!(await this.#tryProve(party))) this.#suspect(party, reason);
    }
  }

  /** Charges the party with the least that proves its guilt. */
  async #tryProve(party: number): Promise<boolean> {
    const { cluster, keys, book } = this.#context;
    const { record, answers, requests, rid } = this.#trouble;
    const node = this.#nodeOf(party);
    const charter = await keys.charter(record.keyId, party).catch(() => []);
    const explanation = this.#explanations.get(party);
    const own = answers.filter(({ body }) => body.party === party);
    const mine = [...own, ...(explanation === undefined ? [] : [explanation])];
    const explained = [...this.#explanations.values()];
    for (const used of [own, [...mine, ...answers], [...mine, ...answers, ...explained]]) {
      const messages = withRequests(charter, [...requests, this.#explainRequest], used);
      const { guilt, text, shown } = weigh(cluster, node, messages);
      if (guilt === undefined) continue;
      book.charge({
        node,
        verdict: "culprit",
        code: guilt,
        text,
        evidence: shown,
        messages,
        party,
        key: record.keyId,
        rid,
      });
      return true;
    }
    return false;
  }

  #suspect(party: number, reason?: string): void {
    const node = this.#nodeOf(party);
    const seconds = explainMs / 1000;
    const text = `node ${node} sent a share for request ${this.#trouble.rid} that does not go with the others, and no proof of it within ${seconds} s`;
    const code = reason === undefined ? "no-explanation" : "suspect-share";
    this.#charge(party, "suspect", code, reason ?? text);
  }

  /** By the party's own share. */
  #charge(party: number, verdict: "culprit" | "suspect", code: string, text: string): void {
    const { record, answers, rid } = this.#trouble;
    const own = answers.filter(({ body }) => body.party === party);
    this.#context.book.charge({
      node: this.#nodeOf(party),
      verdict,
      code,
      text,
      evidence: own.map(({ hash }) => hash),
      messages: own.map(({ message }) => message),
      party,
      key: record.keyId,
      rid,
    });
  }

  #nodeOf(party: number): string {
    return this.#trouble.record.proposal.parties[party - 1] ?? "";
  }
}

/** The record, the answers without repeats, and the requests that they are bound to. */
function withRequests(
  charter: readonly SignedMessage[],
  requests: readonly (SignedMessage | undefined)[],
  answers: readonly Answer[],
): SignedMessage[] {
  const bound = new Set(answers.map(({ body }) => body.request));
  const asked = requests.flatMap((one) => (one !== undefined && bound.has(one.hash) ? [one] : []));
  const given = new Map(answers.map(({ hash, message }) => [hash, message]));
  return [...charter, ...asked, ...given.values()];
}
