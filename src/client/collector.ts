/**
 * @module Share messages as they come: subscribed once, verified, handed to whoever waits for the
 * request. What a lost connection missed is fetched from the stream, where every share rests.
 */
import type { Msg, NatsConnection, Subscription } from "nats";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { assembleMessage, signatureOf, type SignedMessage } from "../streams/envelope.js";
import { readShare, verifySender } from "../streams/open.js";
import type { StreamReader } from "../streams/read.js";
import type { ShareMessage } from "../streams/shares.js";
import { formatSubject, parseSubject, sharesTo, streamNames } from "../streams/subjects.js";

/** An authentic answer, and the message it came in. */
export interface Answer {
  readonly body: ShareMessage;
  readonly hash: string;
  readonly message: SignedMessage;
}

type Waiter = (answer: Answer) => void;

export class Collector {
  readonly #cluster: Cluster;
  readonly #client: string;
  readonly #reader: StreamReader;
  readonly #log: Logger;
  readonly #waiters = new Map<string, Waiter>();
  readonly #subscription: Subscription;
  /** Refused messages by error code: what junk reached us. */
  readonly refused: Map<string, number> = new Map<string, number>();

  /** Sees every authentic answer first. */
  onAnswer: (answer: Answer) => void = () => undefined;

  constructor(
    cluster: Cluster,
    client: string,
    connection: NatsConnection,
    reader: StreamReader,
    log: Logger,
  ) {
    this.#cluster = cluster;
    this.#client = client;
    this.#reader = reader;
    this.#log = log;
    this.#subscription = connection.subscribe(sharesTo(client), {
      callback: (error, received) => {
        if (error === null) this.#receive(received);
      },
    });
  }

  /** From now on answers to `rid` go to `waiter`, until `forget`. */
  expect(rid: string, waiter: Waiter): void {
    this.#waiters.set(rid, waiter);
  }

  forget(rid: string): void {
    this.#waiters.delete(rid);
  }

  /** Looks into the stream for an answer that the subscription may have missed. */
  async fetch(node: string, session: string, rid: string): Promise<void> {
    const subject = formatSubject({ kind: "share", node, client: this.#client, session, rid });
    const message = await this.#reader.last(streamNames.shares, subject);
    if (message !== undefined) this.#accept(message, rid);
  }

  close(): void {
    this.#subscription.unsubscribe();
    this.#waiters.clear();
  }

  #receive(received: Msg): void {
    try {
      const subject = parseSubject(received.subject);
      // Late answers are the usual case: the quorum is complete. They cost no verification.
      if (subject.kind !== "share" || !this.#waiters.has(subject.rid)) return;
      const message = assembleMessage(
        streamNames.shares,
        received.subject,
        received.data,
        signatureOf(received.headers),
      );
      this.#accept(message, subject.rid);
    } catch (error) {
      this.#refuse(error, received.subject);
    }
  }

  #accept(message: SignedMessage, rid: string): void {
    const waiter = this.#waiters.get(rid);
    if (waiter === undefined) return;
    let body;
    try {
      body = readShare(message);
      verifySender(this.#cluster, message, body, "node");
    } catch (error) {
      this.#refuse(error, message.subject);
      return;
    }
    const answer = { body, hash: message.hash, message };
    this.onAnswer(answer);
    waiter(answer);
  }

  #refuse(error: unknown, subject: string): void {
    const code = error instanceof HsmError ? error.code : "ERR_INTERNAL";
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
    this.#log.warn({ code, subject, error: describeError(error) }, "share message refused");
  }
}
