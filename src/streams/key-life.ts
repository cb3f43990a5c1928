/**
 * @module The life of keys as a projection of THSM_KEY: who may say what, and when. Nodes, clients
 * and auditors all apply the same events by these rules, so they agree on every key's state
 * without asking anybody.
 */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { StoredMessage } from "./envelope.js";
import type { KeyEvent, KeyProposed, KeyReady } from "./keys.js";
import { readKeyEvent, verifySender } from "./open.js";

export type KeyState = "proposed" | "active" | "abandoned" | "destroyed";

/** What the stream says of one key. */
export interface KeyRecord {
  readonly keyId: string;
  readonly proposal: KeyProposed;
  /** Hash of the `proposed` message: stands for the record in every later event. */
  readonly proposalHash: string;
  readonly state: KeyState;
  /** Each party's newest `ready`. */
  readonly ready: ReadonlyMap<number, KeyReady>;
  readonly accepted: ReadonlySet<number>;
  /** Party → why it cannot take part. */
  readonly rejected: ReadonlyMap<number, string>;
  /** Parties that were dealt in when the key became active. */
  readonly holders: readonly number[];
  readonly erased: ReadonlySet<number>;
}

interface MutableRecord extends KeyRecord {
  state: KeyState;
  readonly ready: Map<number, KeyReady>;
  readonly accepted: Set<number>;
  readonly rejected: Map<number, string>;
  holders: readonly number[];
  readonly erased: Set<number>;
}

/** An event that was legal, and the key as it is after it. */
export interface KeyChange {
  readonly event: KeyEvent;
  readonly record: KeyRecord;
}

export class KeyLives {
  readonly #cluster: Cluster;
  readonly #records = new Map<string, MutableRecord>();

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
   * @throws HsmError for a message that changes nothing because it is malformed
   * (`ERR_INVALID_MESSAGE`), not its sender's (`ERR_INVALID_SIGNATURE`, `ERR_UNKNOWN_SENDER`), or
   * against the rules (`ERR_CONFLICT`)
   */
  apply(message: StoredMessage): KeyChange | undefined {
    const event = readKeyEvent(message);
    if (event === undefined) return undefined;
    verifySender(this.#cluster, message, event, "client" in event ? "client" : "node");
    if (event.type === "proposed") return { event, record: this.#propose(event, message.hash) };
    const record = this.#records.get(event.key);
    if (record === undefined || event.proposal !== record.proposalHash) {
      throw conflict(event, "it refers to no proposal on record");
    }
    if ("node" in event) this.#byParty(event, record);
    else this.#byClient(event, record);
    return { event, record };
  }

  #propose(event: KeyProposed, proposalHash: string): KeyRecord {
    if (this.#records.has(event.key)) throw conflict(event, "the key id is taken");
    this.#requireTokenClient(event, event.token);
    const parties = event.parties.length;
    if (event.parties.some((node) => this.#cluster.find("node", node) === undefined)) {
      throw conflict(event, "it names a node that the cluster does not have");
    }
    if (event.verificationKeys.length !== parties) {
      throw conflict(event, "it has not one verification key a party");
    }
    if (event.threshold > parties || event.minimum < event.threshold || event.minimum > parties) {
      throw conflict(event, "threshold, minimum and parties do not fit together");
    }
    const record: MutableRecord = {
      keyId: event.key,
      proposal: event,
      proposalHash,
      state: "proposed",
      ready: new Map(),
      accepted: new Set(),
      rejected: new Map(),
      holders: [],
      erased: new Set(),
    };
    this.#records.set(event.key, record);
    return record;
  }

  #byParty(event: Extract<KeyEvent, { node: string }>, record: MutableRecord): void {
    if (record.proposal.parties[event.party - 1] !== event.node) {
      throw conflict(event, `${event.node} is not party ${event.party} of this key`);
    }
    if (event.type === "erased") {
      if (record.state !== "abandoned" && record.state !== "destroyed") {
        throw conflict(event, `the key is ${record.state}`);
      }
      record.erased.add(event.party);
      return;
    }
    // A late answer to a dealing that is over changes nothing, but is no offence either.
    if (record.state !== "proposed") return;
    if (event.type === "ready") {
      record.ready.set(event.party, event);
    } else if (event.type === "accepted") {
      // A party counts once, with its last word.
      record.rejected.delete(event.party);
      record.accepted.add(event.party);
    } else {
      record.accepted.delete(event.party);
      record.rejected.set(event.party, event.reason);
    }
  }

  #byClient(
    event: Exclude<Extract<KeyEvent, { client: string }>, KeyProposed>,
    record: MutableRecord,
  ): void {
    if (event.type === "destroyed") {
      this.#requireTokenClient(event, record.proposal.token);
      if (record.state !== "active") throw conflict(event, `the key is ${record.state}`);
      record.state = "destroyed";
      return;
    }
    if (event.client !== record.proposal.client) {
      throw conflict(event, `only ${record.proposal.client}, who proposed the key, may say so`);
    }
    if (record.state !== "proposed") throw conflict(event, `the key is ${record.state}`);
    if (event.type === "abandoned") {
      record.state = "abandoned";
      return;
    }
    const isBacked = event.accepted.every((party) => record.accepted.has(party));
    if (!isBacked || event.accepted.length < record.proposal.minimum) {
      throw conflict(event, "fewer parties accepted than the proposal asks for");
    }
    record.holders = event.accepted.toSorted((a, b) => a - b);
    record.state = "active";
  }

  #requireTokenClient(event: { key: string; type: string; client: string }, token: string): void {
    if (!this.#cluster.mayUse(event.client, token)) {
      throw conflict(event, `${event.client} may not use token ${token}`);
    }
  }
}

function conflict(event: { key: string; type: string }, reason: string): HsmError {
  return new HsmError("ERR_CONFLICT", `${event.type} of key ${event.key}: ${reason}`);
}
