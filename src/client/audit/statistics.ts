/**
 * @module What a history amounts to: who signed how much with which key, how fast, and who contributed. Fed
 * with the items of `replayHistory`, which were verified; keeps sums only, so that memory does not grow with it.
 */
import type {
  AuditEvent,
  Misbehaviour,
  NodeCleared,
  SessionOpened,
} from "../../streams/audit-events.js";
import type { KeyEvent, KeyProposed } from "../../streams/keys.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { AuditedEvent, AuditItem } from "./audit-items.js";
import type { Verdict } from "./recombine.js";
import { isInScope, type AuditScope } from "./scope.js";
import type { Signing } from "./signing.js";
import { byStream } from "./sources.js";
import type {
  ApplicationStatistics,
  BlameStatistics,
  Clearing,
  CodeStatistics,
  HourStatistics,
  KeyStatistics,
  NodeStatistics,
  SigningCounts,
} from "./statistics-records.js";
import { Durations, Tally } from "./tallies.js";

export const hourMs = 3_600_000;
/** Eleven years. Times are what members say: one who lies must not fill the memory. */
const mostHours = 100_000;
const mostSessions = 100_000;
const mostClearings = 1000;

export class Statistics {
  readonly #scope: AuditScope;
  readonly latency: Durations = new Durations();
  readonly keys: Tally<KeyStatistics> = new Tally(10_000);
  readonly applications: Tally<ApplicationStatistics> = new Tally();
  readonly nodes: Tally<NodeStatistics> = new Tally();
  readonly blames: Tally<BlameStatistics> = new Tally();
  readonly refusals: Tally<CodeStatistics> = new Tally();
  readonly failures: Tally<CodeStatistics> = new Tally();
  readonly hours: Tally<HourStatistics> = new Tally(mostHours);
  readonly clearings: Clearing[] = [];
  /** Attempts that requests took → how many requests took so many. */
  readonly attempts: Map<number, number> = new Map();
  /** Session → its application. */
  readonly #sessions = new Tally<ApplicationStatistics | undefined>(mostSessions);
  requests = 0;
  signatures = 0;
  decryptions = 0;
  failed = 0;
  /** Requests that no event closes. */
  open = 0;
  /** First signatures of new keys. */
  tests = 0;
  /** Requests for share proofs. */
  explanations = 0;

  /** `nodes`: those of the cluster, told of even if they never say anything. */
  constructor(nodes: readonly string[], scope: AuditScope = {}) {
    this.#scope = scope;
    for (const node of nodes) this.#node(node);
  }

  /** Takes an event or a signing; findings are others' to tell. */
  add(item: AuditItem): void {
    if (item.type === "event") this.#event(item.event);
    else if (item.type === "signing") this.#signing(item.signing, item.verdict);
  }

  /** Plain figures; names are not changed within a version of the report. */
  toJSON(): object {
    const { requests, signatures, decryptions, failed, open, tests, explanations } = this;
    const { latency, applications, nodes, blames, refusals, failures, hours, clearings } = this;
    const keys = this.keys.values().map(({ life, ...key }) => {
      const steps = [...life].map(([type, { by, time, seq }]) => ({
        type,
        by: [...by],
        time,
        seq,
      }));
      return { ...key, life: steps };
    });
    return {
      requests,
      signatures,
      decryptions,
      failed,
      open,
      tests,
      explanations,
      latency,
      attempts: Object.fromEntries(this.attempts),
      keys,
      applications,
      nodes,
      blames,
      refusals,
      failures,
      hours,
      clearings,
    };
  }

  #event({ stream, message, body }: AuditedEvent): void {
    const { seq, payload, time } = message;
    const hour = this.#hour(Date.parse(time));
    if (hour !== undefined) hour.bytes[stream] += payload.length;
    if (body === undefined || "inputs" in body || "object" in body) return;
    // Sessions that were opened before the time that is asked for may sign in it; keys are whole.
    if ("type" in body && body.type === "session-opened") this.#opened(body);
    else if ("proposal" in body) this.#keyEvent(body, seq);
    else if ("type" in body && body.type === "proposed") this.#keyEvent(body, seq);
    else if (isInScope(this.#scope, body)) this.#said(body, seq);
  }

  #said(body: ShareMessage | Exclude<AuditEvent, SessionOpened>, seq: number): void {
    if (!("type" in body)) this.#refusal(body, seq);
    else if (body.type === "node-started") this.#node(body.node).starts++;
    else if (body.type === "misbehaviour") this.#blame(body, seq);
    else if (body.type === "node-cleared") this.#cleared(body, seq);
  }

  #keyEvent(body: KeyEvent, seq: number): void {
    if (body.type === "proposed") this.keys.of(body.key, () => newKey(body));
    const life = this.keys.get(body.key)?.life;
    const by = "node" in body ? body.node : body.client;
    const step = life?.get(body.type);
    if (step === undefined) life?.set(body.type, { by: new Set([by]), time: body.time, seq });
    else Object.assign(step, { by: step.by.add(by), time: body.time, seq });
  }

  #cleared({ node, operator, time, reason = "" }: NodeCleared, seq: number): void {
    if (this.clearings.length < mostClearings) {
      this.clearings.push({ node, operator, time, reason, seq });
    }
  }

  #opened({ client, session, application: shown }: SessionOpened): void {
    const application = shown.replace(/[ [(]*\d+[\])]?$/, "");
    const record = this.applications.of(`${client} ${application}`, () => ({
      client,
      application,
      sessions: 0,
      ...noSignings,
    }));
    if (record !== undefined) record.sessions++;
    this.#sessions.of(`${client} ${session}`, () => record);
  }

  #blame({ node, client, verdict, code, text }: Misbehaviour, seq: number): void {
    const make = (): BlameStatistics => {
      return { node, client, verdict, code, count: 0, first: seq, last: seq, text };
    };
    const record = this.blames.of([node, client, verdict, code].join(" "), make);
    if (record !== undefined) Object.assign(record, { count: record.count + 1, last: seq, text });
  }

  #refusal(body: ShareMessage, seq: number): void {
    const { kind, node, code = "", reason = "" } = body;
    if (kind !== "refusal") return;
    this.#node(node).refused++;
    countCode(this.refusals, node, code, seq, reason);
  }

  #signing({ attempts, closing }: Signing, verdict: Verdict | undefined): void {
    const request = attempts[0]?.body;
    if (request === undefined) return;
    for (const { body, answered } of attempts) this.#answers(body, answered);
    if (request.kind === "test") this.tests++;
    if (request.kind === "explain") this.explanations++;
    if (request.kind !== "sign") return;
    const key = this.keys.get(request.key);
    const application = this.#sessions.get(`${request.client} ${request.session}`);
    const tallies: SigningCounts[] = [this, key, application].flatMap((one) => one ?? []);
    const add = (what: keyof SigningCounts, by = 1): void => {
      for (const tally of tallies) tally[what] += by;
    };
    add("requests");
    this.attempts.set(attempts.length, (this.attempts.get(attempts.length) ?? 0) + 1);
    if (closing === undefined) this.open++;
    else if (closing.body.type === "failure") {
      add("failed");
      const { code, reason } = closing.body;
      countCode(this.failures, request.client, code, closing.seq, reason);
    } else this.latency.add(closing.body.elapsedMs);
    const made = verdict?.valid ?? 0;
    if (request.encoding === "decrypt") this.decryptions += made;
    else add("signatures", made);
    const hour = this.#hour(Date.parse(closing?.body.time ?? request.expires));
    if (hour !== undefined) hour.signatures += made;
    const quorum = closing?.body.type === "result" ? closing.body.quorum : [];
    for (const party of quorum) this.#node(key?.parties[party - 1] ?? "").combined += made;
  }

  #answers({ key, parties }: SignRequest, answered: ReadonlySet<string>): void {
    const names = this.keys.get(key)?.parties ?? [];
    for (const name of parties.flatMap((party) => names[party - 1] ?? [])) {
      const node = this.#node(name);
      node.asked++;
      if (answered.has(name)) node.answered++;
    }
  }

  /** Names of nodes are members' names, or were verified to be. */
  #node(node: string): NodeStatistics {
    const make = (): NodeStatistics => {
      return { node, asked: 0, answered: 0, refused: 0, combined: 0, starts: 0 };
    };
    return this.nodes.of(node, make) ?? make();
  }

  #hour(ms: number): HourStatistics | undefined {
    if (Number.isNaN(ms)) return undefined;
    const startMs = Math.floor(ms / hourMs) * hourMs;
    return this.hours.of(String(startMs), () => {
      return { startMs, signatures: 0, bytes: byStream(() => 0) };
    });
  }
}

const noSignings: SigningCounts = { requests: 0, signatures: 0, failed: 0 };

function newKey(proposal: KeyProposed): KeyStatistics {
  const { key, client, token, label, threshold, parties, modulus } = proposal;
  const bits = 8 * Buffer.from(modulus, "base64url").length;
  const life = new Map();
  return { key, client, token, label, threshold, parties, bits, life, ...noSignings };
}

function countCode(
  tally: Tally<CodeStatistics>,
  by: string,
  code: string,
  seq: number,
  text: string,
): void {
  const record = tally.of(`${by} ${code}`, () => ({ by, code, count: 0, seq, text }));
  if (record !== undefined) Object.assign(record, { count: record.count + 1, seq, text });
}
