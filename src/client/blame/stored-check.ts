/**
 * @module Are the shares that were combined on record? A node can send a right share to its client alone, past
 * the stream, and the audit would miss it. The client looks a moment later, off the way of the signature: for
 * every share while there are few, and for some of them, which nobody can foresee, when there are many.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../../log.js";
import type { SignedMessage } from "../../streams/envelope.js";
import type { StreamReader } from "../../streams/read.js";
import { streamNames } from "../../streams/subjects.js";
import type { Answer } from "../collector.js";
import type { BlameBook, Charge } from "./blame-book.js";

interface Due {
  readonly answer: Answer;
  readonly request: SignedMessage;
  readonly seenMs: number;
  lookAtMs: number;
  tries: number;
  /** Its node is suspected for it. */
  charge?: Charge;
}

const firstLookMs = 1000;
const sweepMs = 250;
/** How long after the signature a share may come to the stream, and how long is looked for it. */
const graceMs = 5000;
const giveUpMs = 600_000;
const mostAtOnce = 32;
/** How many shares are looked for on average. A node that does it often is seen within a second. */
const looksPerSecond = 16;
const secondMs = 1000;
/** Missing shares that are still looked for after their nodes were charged. */
const mostCharged = 64;

export class StoredCheck {
  readonly #reader: StreamReader;
  readonly #book: Pick<BlameBook, "charge" | "withdraw">;
  readonly #log: Logger;
  readonly #due = new Set<Due>();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  /** Shares that were used in this second, and in the one before. */
  #used = { count: 0, before: 0, untilMs: Date.now() + secondMs };
  /** When the newest share came that was found on the stream: up to here the stream takes shares. */
  #storedUpToMs = 0;
  /** Nodes of whom a share is missing that is not looked for any more. */
  readonly #owing = new Set<string>();

  constructor(reader: StreamReader, book: Pick<BlameBook, "charge" | "withdraw">, log: Logger) {
    this.#reader = reader;
    this.#book = book;
    this.#log = log;
    this.#timer = setInterval(() => this.#sweep(), sweepMs);
    this.#timer.unref();
  }

  /** A share that was used, and the request that it answers. */
  watch(answer: Answer, request: SignedMessage): void {
    const seenMs = Date.now();
    if (this.#isSpared(seenMs)) return;
    this.#due.add({ answer, request, seenMs, lookAtMs: seenMs + firstLookMs, tries: 0 });
  }

  #isSpared(now: number): boolean {
    if (now >= this.#used.untilMs) {
      const isNext = now < this.#used.untilMs + secondMs;
      this.#used = { count: 0, before: isNext ? this.#used.count : 0, untilMs: now + secondMs };
    }
    this.#used.count += 1;
    return Math.random() * this.#used.before >= looksPerSecond;
  }

  /** Looks at all that is left, for at most so long. */
  async settle(patienceMs: number): Promise<void> {
    const untilMs = Date.now() + patienceMs;
    for (let isFirst = true; this.#open.length > 0; isFirst = false) {
      const left = untilMs - Date.now();
      if (left <= 0 || this.#reader.isClosed) return;
      if (!isFirst) await delay(Math.min(left, sweepMs));
      for (const due of this.#open) due.lookAtMs = 0;
      await Promise.race([this.#look(firstLookMs), delay(left, undefined, { ref: false })]);
    }
  }

  /** Those that are not judged yet. */
  get #open(): Due[] {
    return [...this.#due].filter(({ charge }) => charge === undefined);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    if (this.#due.size > 0) void this.#look(graceMs);
  }

  #look(allowedMs: number): Promise<void> {
    this.#looking ??= this.#lookAtDue(allowedMs).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookAtDue(allowedMs: number): Promise<void> {
    const now = Date.now();
    const due = [...this.#due].filter(({ lookAtMs }) => lookAtMs <= now);
    for (let i = 0; i < due.length; i += mostAtOnce) {
      await Promise.all(due.slice(i, i + mostAtOnce).map((one) => this.#lookFor(one)));
    }
    for (const one of due) if (this.#due.has(one)) this.#judge(one, allowedMs);
  }

  async #lookFor(due: Due): Promise<void> {
    const { message, hash, body } = due.answer;
    due.tries += 1;
    due.lookAtMs = Date.now() + firstLookMs * 2 ** Math.min(due.tries, 6);
    try {
      const entry = await this.#reader.lastEntry(streamNames.shares, message.subject);
      const isThere = entry !== undefined && "message" in entry && entry.message.hash === hash;
      if (isThere) this.#found(due);
      else if (entry !== undefined) {
        // Anybody may have put it there: it says nothing about the node. The audit looks behind it.
        this.#log.warn({ node: body.node, rid: body.rid }, "something hides a share on its stream");
      }
      if (entry !== undefined && !isThere) this.#drop(due);
    } catch {
      // The broker does not answer: nothing was seen.
      due.tries -= 1;
    }
  }

  #found(due: Due): void {
    this.#storedUpToMs = Math.max(this.#storedUpToMs, due.seenMs);
    const { charge } = due;
    if (charge !== undefined) {
      const { node } = charge;
      const isLast = [...this.#due].every((one) => one === due || one.charge?.node !== node);
      const text = `what was missing of node ${node} is stored now`;
      const isSettled = isLast && !this.#owing.has(node);
      if (isSettled && !this.#book.withdraw({ ...charge, text, messages: [] })) return;
    }
    this.#due.delete(due);
  }

  /** Looks for it no more. */
  #drop(due: Due): void {
    this.#due.delete(due);
    if (due.charge !== undefined) this.#owing.add(due.charge.node);
  }

  #judge(due: Due, allowedMs: number): void {
    const ageMs = Date.now() - due.seenMs;
    if (ageMs > giveUpMs) this.#drop(due);
    if (due.charge !== undefined) return;
    // A stream that takes no shares at all, because it is full, is no node's fault.
    if (ageMs < allowedMs || due.tries < 2 || this.#storedUpToMs <= due.seenMs) return;
    const { body, hash, message } = due.answer;
    const { node, rid, key, party } = body;
    const seconds = Math.round(ageMs / 1000);
    due.charge = {
      node,
      verdict: "suspect",
      code: "not-stored",
      text: `node ${node} sent a share for request ${rid} that is not stored ${seconds} s later, though newer ones are`,
      evidence: [hash],
      messages: [due.request, message],
      rid,
      key,
      party,
    };
    this.#book.charge(due.charge);
    if ([...this.#due].filter(({ charge }) => charge !== undefined).length > mostCharged) {
      this.#drop(due);
    }
  }
}
