/** @module Every key that THSM_KEY tells of: its messages, verified and applied by the rules of key-life. */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { StoredMessage } from "./envelope.js";
import { advanceKey, isRefusal, type KeyRecord } from "./key-life.js";
import type { KeyEvent } from "./keys.js";
import { readKeyEvent, verifySender } from "./open.js";

/** An event that was legal, and the key as it is after it. */
export interface KeyChange {
  readonly event: KeyEvent;
  readonly record: KeyRecord;
}

export class KeyLives {
  readonly #cluster: Cluster;
  readonly #records = new Map<string, KeyRecord>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  get(keyId: string): KeyRecord | undefined {
    return this.#records.get(keyId);
  }

  /** In order of proposal. */
  all(): Iterable<KeyRecord> {
    return this.#records.values();
  }

  /**
   * Applies the next message of the stream. Undefined for an event type of a later version.
   * @throws HsmError what `open` and `take` throw, for a message that changes nothing
   */
  apply(message: StoredMessage): KeyChange | undefined {
    const event = this.open(message);
    return event === undefined ? undefined : this.take(event, message.hash);
  }

  /**
   * The event of a message, its sender verified. Undefined for a type of a later version.
   * @throws HsmError `ERR_INVALID_MESSAGE`, `ERR_INVALID_SIGNATURE`, `ERR_UNKNOWN_SENDER`
   */
  open(message: StoredMessage): KeyEvent | undefined {
    const event = readKeyEvent(message);
    if (event === undefined) return undefined;
    verifySender(this.#cluster, message, event, "client" in event ? "client" : "node");
    return event;
  }

  /**
   * Applies an event that was opened.
   * @throws HsmError for one by somebody who may not say so (`ERR_UNKNOWN_SENDER`), of no known
   * proposal (`ERR_UNKNOWN_KEY`) or out of turn (`ERR_CONFLICT`)
   */
  take(event: KeyEvent, hash: string): KeyChange {
    const record = advanceKey(this.#cluster, this.get(event.key), event, hash);
    if (isRefusal(record)) {
      throw new HsmError(record.code, `${event.type} of key ${event.key}: ${record.reason}`);
    }
    this.#records.set(event.key, record);
    return { event, record };
  }
}
