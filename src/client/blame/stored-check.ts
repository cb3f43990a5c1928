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

/** A share that was used. */
interface Used {
  readonly node: string;
  readonly subject: string;
  readonly hash: string;
  readonly seenMs: number;
}

/** One that is looked for. */
interface Due extends Used {
  lookAtMs: number;
  tries: number;
  isMissing: boolean;
  /** What its node is charged with when it is missing; absent for one that another's absence made suspect. */
  readonly charge?: (seconds: number) => Charge;
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
const mostMissing = 64;
/** Shares that were not looked for and are remembered, of each node: one that is missing makes them suspect. */
const mostSpared = 256;

export class StoredCheck {
  readonly #reader: Pick<StreamReader, "lastEntry" | "isClosed">;
  readonly #book: Pick<BlameBook, "charge" | "withdraw">;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #due = new Set<Due>();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  /** Shares that were used in this second, and in the one before. */
  #used = { count: 0, before: 0, untilMs: 0 };
  readonly #spared = new Map<string, Used[]>();
  /** By node: what it was charged with here. */
  readonly #charges = new Map<string, Charge>();
  /** When the newest share came that was found on the stream: up to here the stream takes shares. */
  #storedUpToMs = 0;
  /** Nodes of whom a share is missing that is not looked for any more. */
  readonly #owing = new Set<string>();

  constructor(
    reader: Pick<StreamReader, "lastEntry" | "isClosed">,
    book: Pick<BlameBook, "charge" | "withdraw">,
    log: Logger,
    now: () => number = Date.now,
  ) {
    this.#reader = reader;
    this.#book = book;
    this.#log = log;
    this.#now = now;
    this.#timer = setInterval(() => this.#sweep(), sweepMs);
    this.#timer.unref();
  }

  /** A share that was used, and the request that it answers. */
  watch({ body, hash, message }: Answer, request: SignedMessage): void {
    const { node, rid, key, party } = body;
    const used: Used = { node, subject: message.subject, hash, seenMs: this.#now() };
    if (this.#isSpared(used.seenMs)) {
      this.#remember(used);
      return;
    }
    const charge = (seconds: number): Charge => ({
      node,
      verdict: "suspect",
      code: "not-stored",
      text: `node ${node} sent a share for request ${rid} that is not stored ${seconds} s later, though newer ones are`,
      evidence: [hash],
      messages: [request, message],
      rid,
      key,
      party,
    });
    this.#lookLater({ ...used, charge });
  }

  #lookLater(used: Pick<Due, keyof Used | "charge">): void {
    this.#due.add({ ...used, lookAtMs: used.seenMs + firstLookMs, tries: 0, isMissing: false });
  }

  #remember(used: Used): void {
    const spared = this.#spared.get(used.node) ?? [];
    this.#spared.set(used.node, spared);
    spared.push(used);
    if (spared.length > mostSpared) spared.shift();
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
    const untilMs = this.#now() + patienceMs;
    for (let isFirst = true; this.#open.length > 0; isFirst = false) {
      const left = untilMs - this.#now();
      if (left <= 0 || this.#reader.isClosed) return;
      if (!isFirst) await delay(Math.min(left, sweepMs));
      for (const due of this.#open) due.lookAtMs = 0;
      await Promise.race([this.#look(firstLookMs), delay(left, undefined, { ref: false })]);
    }
  }

  /** Those that are not judged yet. */
  get #open(): Due[] {
    return [...this.#due].filter(({ isMissing }) => !isMissing);
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
    const now = this.#now();
    const due = [...this.#due].filter(({ lookAtMs }) => lookAtMs <= now);
    for (let i = 0; i < due.length; i += mostAtOnce) {
      await Promise.all(due.slice(i, i + mostAtOnce).map((one) => this.#lookFor(one)));
    }
    for (const one of due) if (this.#due.has(one)) this.#judge(one, allowedMs);
  }

  async #lookFor(due: Due): Promise<void> {
    const { node, subject, hash } = due;
    due.tries += 1;
    due.lookAtMs = this.#now() + firstLookMs * 2 ** Math.min(due.tries, 6);
    try {
      const entry = await this.#reader.lastEntry(streamNames.shares, subject);
      if (entry === undefined) return;
      if ("message" in entry && entry.message.hash === hash) {
        this.#found(due);
        return;
      }
      // Anybody may have put it there: it says nothing about the node. The audit looks behind it.
      this.#log.warn({ node, subject }, "something hides a share on its stream");
      this.#drop(due);
    } catch {
      // The broker does not answer: nothing was seen.
      due.tries -= 1;
    }
  }

  #found(due: Due): void {
    this.#storedUpToMs = Math.max(this.#storedUpToMs, due.seenMs);
    const { node } = due;
    const charge = this.#charges.get(node);
    if (charge !== undefined) {
      const isLast = [...this.#due].every((one) => one === due || one.node !== node);
      if (isLast && !this.#owing.has(node)) {
        const text = `what was missing of node ${node} is stored now`;
        if (!this.#book.withdraw({ ...charge, text, messages: [] })) return;
        this.#charges.delete(node);
      }
    }
    this.#due.delete(due);
  }

  /** Looks for it no more. */
  #drop(due: Due): void {
    this.#due.delete(due);
    if (due.isMissing) this.#owing.add(due.node);
  }

  #judge(due: Due, allowedMs: number): void {
    const ageMs = this.#now() - due.seenMs;
    // A stream that takes no shares at all, because it is full, is no node's fault.
    const isTimely = ageMs >= allowedMs && due.tries >= 2 && this.#storedUpToMs > due.seenMs;
    if (isTimely && !due.isMissing) this.#miss(due, ageMs);
    if (ageMs > giveUpMs) this.#drop(due);
  }

  #miss(due: Due, ageMs: number): void {
    const { node } = due;
    due.isMissing = true;
    if (due.charge !== undefined) {
      const charge = due.charge(Math.round(ageMs / 1000));
      if (!this.#charges.has(node)) this.#charges.set(node, charge);
      this.#book.charge(charge);
    }
    if ([...this.#due].filter((one) => one.isMissing).length > mostMissing) this.#drop(due);
    // What nobody looked for may be missing too: the node is believed again only when that is there.
    for (const used of this.#spared.get(node) ?? []) this.#lookLater(used);
    this.#spared.delete(node);
  }
}
