/**
 * @module A node's durable consumer: every stored message at least once, in order of storage,
 * until it is acknowledged. Provisioned for the node; the node cannot create or change it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { jetstream, type JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import { assembleMessage, signatureOf, type StoredMessage } from "./envelope.js";
import { parseSubject, type StreamName } from "./subjects.js";

const retryMs = 500;
/** Messages delivered ahead of their acknowledgement. */
const prefetch = 256;
/** How long the server remembers a question for messages: one that is lost on the way costs so much. */
const askMs = 6000;

/** A message with its acknowledgement still owed. */
export interface Delivery {
  readonly message: StoredMessage;
  /** Done with it, for good. */
  readonly ack: () => void;
  /** Not now: deliver it again after `delayMs`. */
  readonly retry: (delayMs: number) => void;
}

export interface Junk extends Pick<Delivery, "ack" | "retry"> {
  readonly seq: number;
  readonly time: string;
}

export interface ConsumeOptions {
  readonly connection: NatsConnection;
  readonly stream: StreamName;
  readonly consumer: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Must not throw; returns before its work is done so that messages are handled side by side. */
  readonly handle: (delivery: Delivery) => void;
  /** Something that is no message of ours; its acknowledgement is owed all the same. */
  readonly ignore: (error: HsmError, junk: Junk) => void;
}

/** Consumes until the signal fires; survives every outage of the broker. */
export async function consume(options: ConsumeOptions): Promise<void> {
  const { connection, stream, consumer, log, signal } = options;
  while (!signal.aborted && !connection.isClosed()) {
    try {
      const source = await jetstream(connection).consumers.get(stream, consumer);
      const messages = await source.consume({ max_messages: prefetch, expires: askMs });
      const stop = (): void => messages.stop();
      signal.addEventListener("abort", stop);
      // It may have fired while the consumer was looked up.
      if (signal.aborted) stop();
      try {
        for await (const received of messages) deliver(received, options);
      } finally {
        signal.removeEventListener("abort", stop);
        messages.stop();
      }
    } catch (error) {
      if (signal.aborted || connection.isClosed()) return;
      log.warn({ stream, consumer, error: describeError(error) }, "cannot consume");
    }
    await delay(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

function deliver(received: JsMsg, { stream, handle, ignore }: ConsumeOptions): void {
  let message: StoredMessage;
  const { seq, timestamp: time } = received;
  const ack = (): void => received.ack();
  const retry = (delayMs: number): void => received.nak(delayMs);
  try {
    parseSubject(received.subject);
    if (received.info.stream !== stream) {
      throw new HsmError("ERR_BROKER", `expected ${stream}, got ${received.info.stream}`);
    }
    message = {
      ...assembleMessage(stream, received.subject, received.data, signatureOf(received.headers)),
      seq,
      time,
    };
  } catch (error) {
    const known = error instanceof HsmError;
    const reason = known ? error : new HsmError("ERR_INTERNAL", describeError(error));
    ignore(reason, { seq, time, ack, retry });
    return;
  }
  handle({ message, ack, retry });
}
