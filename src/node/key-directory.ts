/**
 * @module What this node knows of keys: the projection of THSM_KEY. Who may say what is decided here,
 * event by event in stream order, so that every start comes to the same result.
 */
import { HsmError, type HsmErrorCode } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { fromBase64url } from "../identity/encoding.js";
import { parseGroupKey, type GroupKey } from "../scheme/index.js";
import type { StoredMessage } from "../streams/envelope.js";
import type { KeyEvent, KeyProposed } from "../streams/keys.js";
import { readKeyEvent, verifySender } from "../streams/open.js";
import { parseJson } from "../validate.js";
import type { IgnoredMessages } from "./ignored.js";

export type KeyState = "proposed" | "active" | "abandoned" | "destroyed";

/** A key as its events tell. */
export class KeyEntry {
  readonly record: KeyProposed;
  /** Hash of the `proposed` event. */
  readonly proposal: string;
  /** Which party this node is, 1…parties; 0 when it is none. */
  readonly party: number;
  state: KeyState = "proposed";
  /**
   * The proposer was a client of the token. A client that has left the token since proposed it
   * rightly if this node accepted it then.
   */
  isAuthorised: boolean;
  /** What this node has said about it. */
  readonly said: Set<KeyEvent["type"]> = new Set<KeyEvent["type"]>();
  #group: GroupKey | undefined;

  constructor(record: KeyProposed, proposal: string, node: string, isAuthorised: boolean) {
    this.record = record;
    this.proposal = proposal;
    this.party = record.parties.indexOf(node) + 1;
    this.isAuthorised = isAuthorised;
  }

  get isDead(): boolean {
    return this.state === "abandoned" || this.state === "destroyed";
  }

  /**
   * The checked numbers of the record. Parsed when first asked for: a start does not pay for keys
   * that nobody uses.
   * @throws HsmError `ERR_INVALID_MESSAGE`
   */
  group(): GroupKey {
    const { record } = this;
    this.#group ??= parseGroupKey({
      modulus: fromBase64url(record.modulus, "modulus"),
      publicExponent: fromBase64url(record.publicExponent, "publicExponent"),
      threshold: record.threshold,
      parties: record.parties.length,
      verificationBase: fromBase64url(record.verificationBase, "verificationBase"),
      verificationKeys: record.verificationKeys.map((one) => fromBase64url(one, "verificationKey")),
    });
    return this.#group;
  }
}

export interface KeyDirectoryOptions {
  readonly cluster: Cluster;
  readonly node: string;
  readonly ignored: IgnoredMessages;
  /** Called after each event that changed an entry, in stream order. */
  readonly onChange: (entry: KeyEntry) => void;
}

export class KeyDirectory {
  readonly #options: KeyDirectoryOptions;
  readonly #entries = new Map<string, KeyEntry>();
  #lastOwn: StoredMessage | undefined;
  #last: StoredMessage | undefined;

  constructor(options: KeyDirectoryOptions) {
    this.#options = options;
  }

  find(key: string): KeyEntry | undefined {
    return this.#entries.get(key);
  }

  get entries(): Iterable<KeyEntry> {
    return this.#entries.values();
  }

  /** The newest message that this node has on THSM_KEY itself. */
  get lastOwn(): StoredMessage | undefined {
    return this.#lastOwn;
  }

  /** The newest message that was taken in. */
  get last(): StoredMessage | undefined {
    return this.#last;
  }

  get activeCount(): number {
    return [...this.#entries.values()].filter(({ state, party }) => state === "active" && party > 0)
      .length;
  }

  /** Takes in the next message of THSM_KEY. Never throws for what stands in it. */
  apply(message: StoredMessage): void {
    this.#last = message;
    try {
      this.#apply(message);
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      this.#ignore(error.code, error.message);
    }
  }

  #apply(message: StoredMessage): void {
    const { cluster, node } = this.#options;
    // Most events are of other nodes, which are their dealer's concern: a start does not pay for them.
    if (!concerns(node, parseJson(message.payload))) return;
    const event = readKeyEvent(message);
    if (event === undefined) return;
    if ("node" in event) {
      verifySender(cluster, message, event, "node");
      this.#lastOwn = message;
    } else {
      verifySender(cluster, message, event, "client");
    }
    if (event.type === "proposed") {
      this.#propose(event, message);
      return;
    }
    const entry = this.#entries.get(event.key);
    if (entry === undefined || event.proposal !== entry.proposal) {
      this.#ignore("ERR_UNKNOWN_KEY", `${event.type} of a key that was not proposed`);
      return;
    }
    const refusal = "node" in event ? this.#hear(entry, event) : this.#obey(entry, event);
    if (refusal === undefined) this.#options.onChange(entry);
    else this.#ignore(refusal, `${event.type} of key ${event.key}`);
  }

  #propose(record: KeyProposed, message: StoredMessage): void {
    const { cluster, node, onChange } = this.#options;
    if (this.#entries.has(record.key)) {
      this.#ignore("ERR_CONFLICT", `key ${record.key} was proposed before`);
      return;
    }
    const isAuthorised = cluster.mayUse(record.client, record.token);
    if (!isAuthorised) {
      this.#ignore("ERR_UNKNOWN_SENDER", `${record.client} has no token ${record.token}`);
    }
    const entry = new KeyEntry(record, message.hash, node, isAuthorised);
    this.#entries.set(record.key, entry);
    onChange(entry);
  }

  /** What this node said itself, now or in an earlier life. */
  #hear(entry: KeyEntry, event: Extract<KeyEvent, { node: string }>): HsmErrorCode | undefined {
    if (event.party !== entry.party) return "ERR_CONFLICT";
    entry.said.add(event.type);
    if (event.type === "accepted") entry.isAuthorised = true;
    return undefined;
  }

  /** What a client decides. Returns why it may not. */
  #obey(
    entry: KeyEntry,
    event: Exclude<KeyEvent, { node: string } | KeyProposed>,
  ): HsmErrorCode | undefined {
    const { record } = entry;
    const mayDecide =
      event.type === "destroyed"
        ? this.#options.cluster.mayUse(event.client, record.token)
        : event.client === record.client;
    if (!mayDecide) return "ERR_UNKNOWN_SENDER";
    // The end is the end, and a key that signs is destroyed, not abandoned.
    if (entry.isDead || (event.type !== "destroyed" && entry.state !== "proposed")) {
      return "ERR_CONFLICT";
    }
    entry.state = event.type === "activated" ? "active" : event.type;
    return undefined;
  }

  #ignore(code: HsmErrorCode, why: string): void {
    this.#options.ignored.count(code, why);
  }
}

/** Whether an event is a client's, or one of this node's own that it needs to remember. */
function concerns(node: string, event: unknown): boolean {
  if (typeof event !== "object" || event === null || !("node" in event)) return true;
  return event.node === node && !("type" in event && event.type === "ready");
}
