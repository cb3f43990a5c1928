/**
 * @module The rules of a key's life: a state and an event in, the next state or a refusal out. Pure,
 * and the only place that decides: nodes, clients and auditors apply the same events by these rules,
 * so they agree on every key without asking anybody. What they read may differ only in what no rule
 * looks at: other parties' `ready` and `erased`.
 */
import type { HsmErrorCode } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { policyFault, type KeyEvent, type KeyProposed, type KeyReady } from "./keys.js";

export type KeyState = "proposed" | "active" | "abandoned" | "destroyed";

/** What the stream says of one key. Plain data, never changed: each event makes a new one. */
export interface KeyRecord {
  readonly keyId: string;
  readonly proposal: KeyProposed;
  /** Hash of the `proposed` message: stands for the record in every later event. */
  readonly proposalHash: string;
  /**
   * The proposer may use the token. Nodes accept nothing else; one who has left the token since
   * proposed rightly if enough nodes accepted then.
   */
  readonly isAuthorised: boolean;
  readonly state: KeyState;
  /** The names that it goes by now. */
  readonly label: string;
  /** CKA_ID, lower-case hex. */
  readonly id: string;
  /** Each party's newest `ready`. */
  readonly ready: ReadonlyMap<number, KeyReady>;
  readonly accepted: ReadonlySet<number>;
  /** Party → why it does not take part, for good. */
  readonly rejected: ReadonlyMap<number, string>;
  /** Parties that sign since the key became active, ascending. */
  readonly holders: readonly number[];
  readonly erased: ReadonlySet<number>;
}

/** Why an event changes nothing. */
export interface KeyRefusal {
  readonly code: Extract<HsmErrorCode, "ERR_UNKNOWN_KEY" | "ERR_UNKNOWN_SENDER" | "ERR_CONFLICT">;
  readonly reason: string;
}

export type Members = Pick<Cluster, "find" | "mayUse">;
type PartyEvent = Extract<KeyEvent, { node: string }>;
type Decision = Exclude<KeyEvent, PartyEvent | KeyProposed>;

/** Records from before proposals said when they expire. */
const unstatedLifetimeMs = 120_000;

/** From when on a proposal that is not active is nobody's: any client of the token may abandon it. */
export function expiryOf({ expires, time }: KeyProposed): number {
  return expires === undefined ? Date.parse(time) + unstatedLifetimeMs : Date.parse(expires);
}

/**
 * The key after an event whose sender is verified. The same object when the event is legal but says
 * nothing new. `hash`: of the event's message.
 */
export function advanceKey(
  members: Members,
  before: KeyRecord | undefined,
  event: KeyEvent,
  hash: string,
): KeyRecord | KeyRefusal {
  if (event.type === "proposed") {
    return before === undefined ? propose(members, event, hash) : conflict("the key id is taken");
  }
  if (before === undefined || event.proposal !== before.proposalHash) {
    return { code: "ERR_UNKNOWN_KEY", reason: "it refers to no proposal on record" };
  }
  return "node" in event ? byParty(before, event) : decide(members, before, event);
}

export function isRefusal(outcome: KeyRecord | KeyRefusal): outcome is KeyRefusal {
  return "code" in outcome;
}

function propose(members: Members, event: KeyProposed, hash: string): KeyRecord | KeyRefusal {
  const parties = event.parties.length;
  const unknown = event.parties.find((node) => members.find("node", node) === undefined);
  if (unknown !== undefined) return conflict(`the cluster has no node ${unknown}`);
  if (event.verificationKeys.length !== parties) {
    return conflict("it has not one verification key a party");
  }
  if (event.threshold > parties || event.minimum < event.threshold || event.minimum > parties) {
    return conflict("threshold, minimum and parties do not fit together");
  }
  const fault = policyFault(event.encodings);
  if (fault !== undefined) return conflict(fault);
  return {
    keyId: event.key,
    proposal: event,
    proposalHash: hash,
    isAuthorised: members.mayUse(event.client, event.token),
    state: "proposed",
    label: event.label,
    id: event.id,
    ready: new Map(),
    accepted: new Set(),
    rejected: new Map(),
    holders: [],
    erased: new Set(),
  };
}

function byParty(before: KeyRecord, event: PartyEvent): KeyRecord | KeyRefusal {
  const { party, node } = event;
  if (before.proposal.parties[party - 1] !== node) {
    return stranger(`${node} is not party ${party} of this key`);
  }
  const { accepted, rejected, ready, erased, state } = before;
  if (event.type === "erased") {
    // A party that has withdrawn in time erases, whatever becomes of the key.
    if (!isDead(before) && !rejected.has(party)) return conflict(`the key is ${state}`);
    return erased.has(party) ? before : { ...before, erased: new Set([...erased, party]) };
  }
  // A late word about a dealing that is over changes nothing, but is no offence either: it was
  // under way when the decision was stored. So is a holder's withdrawal after the activation.
  if (isDead(before) || before.holders.includes(party)) return before;
  if (event.type === "ready") {
    return state === "active" ? before : { ...before, ready: new Map([...ready, [party, event]]) };
  }
  if (event.type === "rejected") {
    const without = new Set(accepted);
    without.delete(party);
    const reasons = new Map([...rejected, [party, event.reason] as const]);
    return { ...before, accepted: without, rejected: reasons };
  }
  if (rejected.has(party)) return conflict(`party ${party} has rejected its share before`);
  // With a minimum below the number of parties, some are late: they hold a share and may sign.
  const holders = state === "active" ? ascending([...before.holders, party]) : before.holders;
  return { ...before, accepted: new Set([...accepted, party]), holders };
}

function decide(members: Members, before: KeyRecord, event: Decision): KeyRecord | KeyRefusal {
  const { proposal, state } = before;
  const isProposer = event.client === proposal.client;
  if (event.type === "destroyed") {
    if (!members.mayUse(event.client, proposal.token)) {
      return stranger(`${event.client} may not use token ${proposal.token}`);
    }
    if (state === "destroyed") return before;
    return state === "active" ? { ...before, state: "destroyed" } : conflict(`the key is ${state}`);
  }
  if (event.type === "relabelled") {
    if (!members.mayUse(event.client, proposal.token)) {
      return stranger(`${event.client} may not use token ${proposal.token}`);
    }
    if (state !== "active") return conflict(`the key is ${state}`);
    return { ...before, label: event.label ?? before.label, id: event.id ?? before.id };
  }
  if (event.type === "abandoned") {
    const isOverdue =
      Date.parse(event.time) >= expiryOf(proposal) && members.mayUse(event.client, proposal.token);
    if (!isProposer && !isOverdue) {
      return stranger(
        `only ${proposal.client}, who proposed the key, may say so before it expires`,
      );
    }
    if (state === "abandoned") return before;
    return state === "proposed"
      ? { ...before, state: "abandoned" }
      : conflict(`the key is ${state}`);
  }
  if (!isProposer) return stranger(`only ${proposal.client}, who proposed the key, may say so`);
  if (state !== "proposed") return conflict(`the key is ${state}`);
  const isBacked = event.accepted.every((party) => before.accepted.has(party));
  if (!isBacked || event.accepted.length < proposal.minimum) {
    return conflict("fewer parties accepted than the proposal asks for");
  }
  // Who accepted while the dealer decided holds a share like the others.
  return { ...before, state: "active", holders: ascending(before.accepted) };
}

export function isDead({ state }: Pick<KeyRecord, "state">): boolean {
  return state === "abandoned" || state === "destroyed";
}

function ascending(parties: Iterable<number>): number[] {
  return [...parties].toSorted((a, b) => a - b);
}

function conflict(reason: string): KeyRefusal {
  return { code: "ERR_CONFLICT", reason };
}

function stranger(reason: string): KeyRefusal {
  return { code: "ERR_UNKNOWN_SENDER", reason };
}
