/**
 * @module The life of every key as THSM_KEY tells it, by the rules that nodes and clients act on, and
 * what an auditor has to say beyond them: steps that were not their sender's to take, records that no
 * dealer can have made, answers that no honest node gives.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { fromBase64url } from "../../identity/encoding.js";
import { advanceKey, isRefusal, type KeyRecord as KeyLife } from "../../streams/key-life.js";
import type { KeyActivated, KeyEvent, KeyProposed } from "../../streams/keys.js";
import { parseGroupKey, type GroupKey } from "../../scheme/index.js";
import type { Read } from "./admit.js";
import type { FindingCode, Report } from "./findings.js";

/** What is recorded of one key. */
export interface KeyRecord {
  readonly proposal: KeyProposed;
  readonly group: GroupKey;
  activation: Read<KeyActivated> | undefined;
  /** Party → number of the event in its node's chain. */
  readonly accepted: Map<number, number>;
  readonly erased: Map<number, number>;
}

export class KeyHistory {
  readonly #cluster: Cluster;
  readonly #report: Report;
  readonly #lives = new Map<string, KeyLife>();
  /** Keys whose record a dealer can have made. */
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

  /** The state that nodes and clients see. */
  life(key: string): KeyLife | undefined {
    return this.#lives.get(key);
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

  /** "repeat" for bytes that were stored before: they are no offence twice, but may count only now. */
  add(event: Read<KeyEvent>): "new" | "repeat" {
    const { message, body } = event;
    const isRepeat = this.#seen.has(message.hash);
    this.#seen.add(message.hash);
    const before = this.#lives.get(body.key);
    const after = advanceKey(this.#cluster, before, body, message.hash);
    const wrong = isRefusal(after) ? after.reason : this.#take(event, before, after);
    if (isRepeat) return "repeat";
    if (wrong !== undefined) {
      this.#tell("AUDIT_KEY_EVENT_ILLEGAL", event, `which is not right: ${wrong}`);
    } else if (before === after && mayRepeat.has(body.type)) {
      this.#tell("AUDIT_KEY_EVENT_REPEATED", event, "as had been recorded before");
    }
    return "new";
  }

  /** Returns what is wrong though the rules take it. */
  #take(event: Read<KeyEvent>, before: KeyLife | undefined, after: KeyLife): string | undefined {
    const { body } = event;
    this.#lives.set(body.key, after);
    if (before === undefined) return this.#register(after);
    this.#remember(event);
    return oddAnswer(before, body);
  }

  /** Returns what is wrong with a proposal though it has the right shape. */
  #register({ keyId, proposal, isAuthorised }: KeyLife): string | undefined {
    const group = groupOf(proposal);
    if (group === undefined) return "its numbers are out of range";
    const nothing = { activation: undefined, accepted: new Map(), erased: new Map() };
    this.#keys.set(keyId, { proposal, group, ...nothing });
    return isAuthorised ? undefined : `it has no right to token ${proposal.token}`;
  }

  #remember({ message, body }: Read<KeyEvent>): void {
    const record = this.#keys.get(body.key);
    if (record === undefined) return;
    if (body.type === "activated") record.activation ??= { message, body };
    else if (body.type === "accepted" || body.type === "erased") {
      const numbers = record[body.type];
      if (!numbers.has(body.party)) numbers.set(body.party, body.n);
    }
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

/** Decisions and receipts that two may give at once, or one again. */
const mayRepeat: ReadonlySet<KeyEvent["type"]> = new Set<KeyEvent["type"]>([
  "abandoned",
  "destroyed",
  "erased",
]);

/** What changes nothing for anybody, and yet no honest node says. */
function oddAnswer(before: KeyLife, body: KeyEvent): string | undefined {
  if (body.type === "accepted") {
    if (before.accepted.has(body.party)) return "it had answered the dealing before";
    const wasReady = before.ready.has(body.party) || before.state !== "proposed";
    return wasReady ? undefined : "it was not ready for a share";
  }
  if (body.type === "rejected" && before.rejected.has(body.party)) {
    return "it had answered the dealing before";
  }
  return undefined;
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
