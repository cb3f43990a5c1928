/**
 * @module What this node knows of keys: the projection of THSM_KEY, in stream order, so that every
 * start comes to the same result.
 */
import { HsmError, type HsmErrorCode } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { fromBase64url } from "../identity/encoding.js";
import { parseGroupKey, type GroupKey } from "../scheme/index.js";
import type { SignedMessage, StoredMessage } from "../streams/envelope.js";
import { isDead, type KeyRecord, type KeyState } from "../streams/key-life.js";
import { KeyLives } from "../streams/key-lives.js";
import type { KeyEvent, KeyProposed } from "../streams/keys.js";
import { readKeyEvent } from "../streams/open.js";
import { parseSubject, streamNames } from "../streams/subjects.js";
import { parseJson } from "../validate.js";
import type { IgnoredMessages } from "./ignored.js";

/** A key as its events tell, and as this node has a part in it. */
export class KeyEntry {
  life: KeyRecord;
  /** Which party this node is, 1…parties; 0 when it is none. */
  readonly party: number;
  /** What this node has said about it: on record, or journaled and on its way there. */
  readonly said: Set<KeyEvent["type"]> = new Set<KeyEvent["type"]>();
  #group: GroupKey | undefined;

  constructor(life: KeyRecord, node: string) {
    this.life = life;
    this.party = life.proposal.parties.indexOf(node) + 1;
  }

  get record(): KeyProposed {
    return this.life.proposal;
  }

  /** Hash of the `proposed` event. */
  get proposal(): string {
    return this.life.proposalHash;
  }

  get state(): KeyState {
    return this.life.state;
  }

  /**
   * The proposer was a client of the token. A client that has left the token since proposed it
   * rightly if this node accepted it then.
   */
  get isAuthorised(): boolean {
    return this.life.isAuthorised || this.said.has("accepted");
  }

  get isDead(): boolean {
    return isDead(this.life);
  }

  /** It is on record that this node takes no part: no activation can count on its share any more. */
  get isWithdrawn(): boolean {
    return this.life.rejected.has(this.party);
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
  readonly #lives: KeyLives;
  readonly #entries = new Map<string, KeyEntry>();
  #lastOwn: StoredMessage | undefined;
  #last: StoredMessage | undefined;

  constructor(options: KeyDirectoryOptions) {
    this.#options = options;
    this.#lives = new KeyLives(options.cluster);
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

  /** This node has journaled the message, and the stream will have it: it must not say the same in other words. */
  hasSaid(message: SignedMessage): void {
    if (message.stream !== streamNames.keys) return;
    const event = readKeyEvent(message);
    if (event !== undefined) this.#entries.get(event.key)?.said.add(event.type);
  }

  #apply(message: StoredMessage): void {
    const { node, onChange } = this.#options;
    // Certificates and data of applications: no node needs them.
    if (parseSubject(message.subject).kind === "object") return;
    if (!concerns(node, parseJson(message.payload))) return;
    const event = this.#lives.open(message);
    if (event === undefined) return;
    const isOwn = "node" in event && event.node === node;
    // Also one that no rule takes: the chain continues behind it.
    if (isOwn) this.#lastOwn = message;
    const { record } = this.#lives.take(event, message.hash);
    const entry = this.#entryOf(record);
    if (event.type === "proposed" && !record.isAuthorised) {
      this.#ignore("ERR_UNKNOWN_SENDER", `${event.client} has no token ${event.token}`);
    }
    if (isOwn) entry.said.add(event.type);
    // Another party's word alone gives this node nothing to do.
    if (isOwn || !("node" in event)) onChange(entry);
  }

  #entryOf(life: KeyRecord): KeyEntry {
    const known = this.#entries.get(life.keyId);
    if (known !== undefined) {
      known.life = life;
      return known;
    }
    const entry = new KeyEntry(life, this.#options.node);
    this.#entries.set(life.keyId, entry);
    return entry;
  }

  #ignore(code: HsmErrorCode, why: string): void {
    this.#options.ignored.count(code, why);
  }
}

/**
 * Whether a rule, or this node's memory of what it said, looks at the event. The others are their
 * dealer's concern: a start does not pay for them.
 */
function concerns(node: string, event: unknown): boolean {
  if (typeof event !== "object" || event === null || !("node" in event)) return true;
  const type = "type" in event ? event.type : undefined;
  return type === "accepted" || type === "rejected" || (type === "erased" && event.node === node);
}
