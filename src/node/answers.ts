/**
 * @module One answer a request. Remembers what was answered until the request has expired for
 * certain, so that a request that is delivered again gets the same bytes and never a second answer.
 */
import { parseJson } from "../validate.js";
import { formatSubject, parseSubject, streamNames } from "../streams/subjects.js";
import type { JournalEntry, Place, WrittenEntry } from "./journal-segments.js";

export interface Answer {
  /** Hash of the request message. */
  readonly request: string;
  /**
   * What was said, undefined when the request was not worth an answer; once it is published, where
   * the journal has it: memory does not grow with the size of answers.
   */
  readonly said: Promise<JournalEntry | undefined> | Place;
  /** Forgotten after this, by this node's clock. */
  readonly until: number;
}

/** By the request's subject, which is written once. */
export class Answers {
  readonly #answers = new Map<string, Answer>();

  /**
   * Takes up the answers that a former life left in its journal. How long those requests live is
   * not on record, so `lifetimeMs` is the longest that any may.
   */
  restore(entries: readonly WrittenEntry[], lifetimeMs: number): void {
    for (const { message, time, place } of entries) {
      if (message.stream !== streamNames.shares) continue;
      const subject = parseSubject(message.subject);
      const body = parseJson(message.payload);
      if (subject.kind !== "share" || !namesRequest(body)) continue;
      const { client, session, rid } = subject;
      this.set(formatSubject({ kind: "request", client, session, rid }), {
        request: body.request,
        said: place,
        until: Date.parse(time) + lifetimeMs,
      });
    }
  }

  get(subject: string): Answer | undefined {
    return this.#answers.get(subject);
  }

  set(subject: string, answer: Answer): void {
    this.#answers.set(subject, answer);
  }

  delete(subject: string): void {
    this.#answers.delete(subject);
  }

  get size(): number {
    return this.#answers.size;
  }

  forgetExpired(now: number): void {
    for (const [subject, { until }] of this.#answers) {
      if (until < now) this.#answers.delete(subject);
    }
  }
}

function namesRequest(body: unknown): body is { request: string } {
  return (
    typeof body === "object" &&
    body !== null &&
    "request" in body &&
    typeof body.request === "string"
  );
}
