/**
 * @module What a session puts on record: its opening, its numbered requests, what came of them, and its
 * closing, in this order.
 */
import { describeError, HsmError } from "../errors.js";
import { sessionEventVersion } from "../streams/audit-events.js";
import { chainStart, signMessage, type SignedMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { Bus } from "./bus.js";
import { within } from "./within.js";
import type { RequestFields } from "./work.js";

/** How long a request is still brought to the record that missed its own deadline: no gap remains. */
const recordMs = 600_000;

export interface Published {
  readonly message: SignedMessage;
  /** Settles once the stream has it, or the deadline has passed. */
  readonly stored: Promise<unknown>;
}

export class SessionRecord {
  readonly #bus: Bus;
  readonly #client: string;
  readonly #session: string;
  /** Publications that nobody waits for. */
  readonly #unsettled = new Set<Promise<unknown>>();
  readonly #openedEvent: SignedMessage;
  #opening: Promise<unknown> | undefined;
  #requests = 0;
  /** Number and hash of the session's newest event. */
  #chain = { n: 0, hash: chainStart };
  /** Numbers of requests that the broker refused to store: the next ones take them. */
  readonly #freed: number[] = [];

  /** @throws HsmError `ERR_NOT_LOGGED_IN` */
  constructor(bus: Bus, client: string, session: string, token: string, application: string) {
    this.#bus = bus;
    this.#client = client;
    this.#session = session;
    const shown = application.slice(0, 200);
    this.#openedEvent = this.#event({ type: "session-opened", token, application: shown });
  }

  /** The opening on record. After an outage it is tried again, with the same bytes. */
  opened(): Promise<unknown> {
    this.#opening ??= this.#bus.publisher.publish(this.#openedEvent).catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  openedBy(deadlineMs: number): Promise<unknown> {
    return within(this.opened(), { deadlineMs, late: () => unacknowledged(this.#openedEvent) });
  }

  /** Publishes a request with the next number. @throws HsmError `ERR_NOT_LOGGED_IN` */
  request(fields: RequestFields, deadlineMs: number): Published {
    const [bus, client, session] = [this.#bus, this.#client, this.#session];
    const { kind, rid, ...rest } = fields;
    const subject = formatSubject({ kind: "request", client, session, rid });
    const seq = this.#freed.at(-1) ?? this.#requests + 1;
    const message = signMessage(bus.identity.require(), streamNames.requests, subject, {
      version: formatVersion,
      // First what a reader looks for.
      kind,
      client,
      session,
      seq,
      rid,
      ...rest,
    });
    // Only a request that is really sent takes a number.
    if (this.#freed.pop() === undefined) this.#requests = seq;
    const publication = bus.publisher
      .publish(message, { timeoutMs: recordMs })
      .catch((error: unknown) => {
        if (isRefusal(error)) this.#freed.push(seq);
        throw error;
      });
    track(this.#unsettled, publication);
    const stored = within(publication, { deadlineMs, late: () => unacknowledged(message) });
    return { message, stored };
  }

  /** Publishes an audit event without making the caller wait for it. */
  say(event: object): void {
    const lost = (error: unknown): void => {
      const facts = { session: this.#session, error: describeError(error) };
      this.#bus.log.error(facts, "audit event lost");
    };
    try {
      const stored = this.#bus.publisher.publish(this.#event(event), { timeoutMs: recordMs });
      track(this.#unsettled, stored.catch(lost));
    } catch (error) {
      lost(error);
    }
  }

  /** The session's last word, after all others, each for at most so long. */
  async close(patienceMs: number): Promise<void> {
    await atMost(patienceMs, this.#unsettled);
    const isFreed = (): boolean => this.#freed.includes(this.#requests);
    while (this.#requests > 0 && isFreed()) this.#requests -= 1;
    try {
      const closed = this.#event({ type: "session-closed", requests: this.#requests });
      await atMost(patienceMs, [this.opened()]);
      await this.#bus.publisher.publish(closed, { timeoutMs: Math.max(1, patienceMs) });
    } catch (error) {
      const facts = { session: this.#session, error: describeError(error) };
      this.#bus.log.warn(facts, "not closed");
    }
  }

  #event(event: object): SignedMessage {
    const [client, session] = [this.#client, this.#session];
    const subject = formatSubject({ kind: "client-audit", client, session });
    const n = this.#chain.n + 1;
    const message = signMessage(this.#bus.identity.require(), streamNames.audit, subject, {
      version: sessionEventVersion,
      client,
      session,
      ...event,
      time: new Date().toISOString(),
      n,
      prev: this.#chain.hash,
    });
    this.#chain = { n, hash: message.hash };
    return message;
  }
}

function unacknowledged({ stream }: SignedMessage): HsmError {
  return new HsmError("ERR_BROKER_UNREACHABLE", `no acknowledgement from ${stream} in time`);
}

/** Whether the broker said that it has not stored a message, and not merely nothing. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof HsmError && (error.code === "ERR_STREAM_FULL" || error.code === "ERR_BROKER")
  );
}

/** Keeps a promise in a set until it settles. Its failure is somebody else's to see. */
export function track(set: Set<Promise<unknown>>, promise: Promise<unknown>): void {
  set.add(promise);
  const leave = (): void => void set.delete(promise);
  promise.then(leave, leave);
}

export async function atMost(timeMs: number, promises: Iterable<Promise<unknown>>): Promise<void> {
  let timer;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeMs);
  });
  await Promise.race([Promise.allSettled(promises), late]);
  clearTimeout(timer);
}
