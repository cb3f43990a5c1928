/**
 * @module The life of every key as THSM_KEY tells it, and whether each step was its sender's to take:
 * proposed → ready → accepted | rejected → activated | abandoned; activated → destroyed; then erased.
 * The stream's order counts: nodes and clients act on it.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { fromBase64url } from "../../identity/encoding.js";
import type { KeyActivated, KeyEvent, KeyProposed } from "../../streams/keys.js";
import { parseGroupKey, type GroupKey } from "../../scheme/index.js";
import type { KeyState } from "../api.js";
import type { Read } from "./admit.js";
import type { FindingCode, Report } from "./findings.js";

/** What is recorded of one key. */
export interface KeyRecord {
  readonly proposal: KeyProposed;
  /** Hash of the proposal's message. */
  readonly hash: string;
  readonly group: GroupKey;
  state: KeyState;
  activation: Read<KeyActivated> | undefined;
  readonly ready: Set<number>;
  /** Party → number of the event in its node's chain. */
  readonly accepted: Map<number, number>;
  readonly rejected: Set<number>;
  readonly erased: Map<number, number>;
}

type NodeEvent = Extract<KeyEvent, { node: string }>;
type ClientEvent = Exclude<KeyEvent, { node: string } | KeyProposed>;

export class KeyHistory {
  readonly #cluster: Cluster;
  readonly #report: Report;
  readonly #keys = new Map<string, KeyRecord>();
  readonly #seen = new Set<string>();

  constructor(cluster: Cluster, report: Report) {
    this.#cluster = cluster;
    this.#report = report;
  }

  get size(): number {
    return this.#keys.size;
  }

  get(key: string): KeyRecord | undefined {
    return this.#keys.get(key);
  }

  /** Every activation, with its key: whether the test signature is there, the signings tell. */
  *activations(): Generator<Read<KeyActivated>> {
    for (const { activation } of this.#keys.values())
      if (activation !== undefined) yield activation;
  }

  /** Whether the client may use keys of the token. */
  mayUse(client: string, token: string): boolean {
    return this.#cluster.mayUse(client, token);
  }

  /** "repeat" for bytes that were stored before. */
  add(event: Read<KeyEvent>): "new" | "repeat" {
    const { message } = event;
    if (this.#seen.has(message.hash)) return "repeat";
    this.#seen.add(message.hash);
    const wrong = this.#step(event);
    if (wrong !== undefined)
      this.#tell("AUDIT_KEY_EVENT_ILLEGAL", event, `which is not right: ${wrong}`);
    return "new";
  }

  /** Takes the step, unless it is wrong: then says why. */
  #step(event: Read<KeyEvent>): string | undefined {
    const { body } = event;
    const record = this.get(body.key);
    if (body.type === "proposed") {
      if (record !== undefined) return "the key id is taken";
      return this.#propose({ ...event, body });
    }
    if (record === undefined) return "no such key was proposed";
    if (body.proposal !== record.hash) return "it names another proposal than the stored one";
    return "node" in body
      ? this.#nodeStep(record, { ...event, body })
      : this.#clientStep(record, { ...event, body });
  }

  /** Nobody acts on a proposal that is not right, so it does not take the key id either. */
  #propose({ message, body }: Read<KeyProposed>): string | undefined {
    if (!this.mayUse(body.client, body.token)) return `it has no right to token ${body.token}`;
    const stranger = body.parties.find((name) => this.#cluster.find("node", name) === undefined);
    if (stranger !== undefined) return `no node is named ${stranger}`;
    if (body.minimum < body.threshold || body.minimum > body.parties.length) {
      return `${body.minimum} is no minimum for ${body.threshold} of ${body.parties.length}`;
    }
    const group = groupOf(body);
    if (group === undefined) return "its numbers are out of range";
    this.#keys.set(body.key, {
      proposal: body,
      hash: message.hash,
      group,
      state: "proposed",
      activation: undefined,
      ready: new Set(),
      accepted: new Map(),
      rejected: new Set(),
      erased: new Map(),
    });
    return undefined;
  }

  #nodeStep(record: KeyRecord, event: Read<NodeEvent>): string | undefined {
    const { body } = event;
    const { party, n } = body;
    const { proposal, state } = record;
    if (proposal.parties[party - 1] !== body.node) return `party ${party} is another node`;
    const hasAnswered = record.accepted.has(party) || record.rejected.has(party);
    switch (body.type) {
      case "ready":
        // Again after a restart: the one-time key was in memory only.
        if (state !== "proposed" || hasAnswered) return `the key is ${state}, its answer given`;
        record.ready.add(party);
        return undefined;
      case "accepted":
      case "rejected":
        if (body.type === "accepted" && !record.ready.has(party)) {
          return "it was not ready for a share";
        }
        if (hasAnswered) return "it had answered the dealing before";
        // With a minimum below the number of parties, answers may come after the activation.
        if (state !== "proposed" && state !== "active") return `the key is ${state}`;
        if (body.type === "accepted") record.accepted.set(party, n);
        else record.rejected.add(party);
        return undefined;
      case "erased":
        if (state !== "abandoned" && state !== "destroyed") return `the key is ${state}`;
        if (record.erased.has(party)) this.#again(event);
        else record.erased.set(party, n);
        return undefined;
    }
  }

  #clientStep(record: KeyRecord, event: Read<ClientEvent>): string | undefined {
    const { message, body } = event;
    const { proposal, state } = record;
    if (body.type === "destroyed") {
      if (!this.mayUse(body.client, proposal.token)) return `it has no right to ${proposal.token}`;
      if (state === "destroyed") this.#again(event);
      else if (state !== "active") return `the key is ${state}`;
      record.state = "destroyed";
      return undefined;
    }
    if (body.client !== proposal.client) return `the dealer is ${proposal.client}`;
    if (state !== "proposed") return `the key is ${state}`;
    if (body.type === "abandoned") {
      record.state = "abandoned";
      return undefined;
    }
    const without = body.accepted.filter((party) => !record.accepted.has(party));
    if (without.length > 0) return `party ${without.join(", ")} had not accepted`;
    if (body.accepted.length < proposal.minimum) {
      return `${body.accepted.length} parties are fewer than the minimum ${proposal.minimum}`;
    }
    record.state = "active";
    record.activation = { message, body };
    return undefined;
  }

  #again(event: Read<KeyEvent>): void {
    this.#tell("AUDIT_KEY_EVENT_REPEATED", event, "as had been recorded before");
  }

  #tell(code: FindingCode, { message, body }: Read<KeyEvent>, what: string): void {
    const [role, name] = "node" in body ? ["node", body.node] : ["client", body.client];
    this.#report({
      code,
      stream: "THSM_KEY",
      seq: [message.seq],
      key: body.key,
      [role]: name,
      text: `${role} ${name} recorded key ${body.key} as ${body.type} at ${body.time}, ${what}`,
    });
  }
}

function groupOf(record: KeyProposed): GroupKey | undefined {
  try {
    return parseGroupKey({
      modulus: fromBase64url(record.modulus, "modulus"),
      publicExponent: fromBase64url(record.publicExponent, "publicExponent"),
      threshold: record.threshold,
      parties: record.parties.length,
      verificationBase: fromBase64url(record.verificationBase, "verificationBase"),
      verificationKeys: record.verificationKeys.map((key) => fromBase64url(key, "verificationKey")),
    });
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}
