/**
 * @module The audit: one pass over a recorded history, every message checked by itself and against the
 * others. First THSM_KEY, which says what keys there are; then requests, shares and results side by side.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import type { Entry } from "../../streams/read.js";
import { admit, type Admitted, type ChainOwner } from "./admit.js";
import { Chain, type ChainEnd } from "./chain.js";
import {
  isAbsence,
  toFinding,
  type Finding,
  type FindingCode,
  type FindingFacts,
} from "./findings.js";
import { KeyHistory } from "./key-history.js";
import { merge } from "./merge.js";
import { judge } from "./recombine.js";
import { SequenceCheck } from "./sequence.js";
import { Sessions } from "./sessions.js";
import type { Signing } from "./signing.js";
import { Signings } from "./signings.js";
import {
  byStream,
  keptStreams,
  type HistoryBounds,
  type HistorySource,
  type KeptStream,
} from "./sources.js";
import { isSigned, jobOf, tellSigning } from "./verdict.js";

export interface VerifyOptions {
  /** Whether the shares of each result are combined again. Default true. It is most of the work. */
  readonly recombine?: boolean;
  /**
   * How far streams may lag behind each other without harm: inputs of complete signings that are held
   * in memory, 2 to 4 kB each. Default 4000.
   */
  readonly heldInputs?: number;
  readonly signal?: AbortSignal;
  /** Called now and then with the entries that were read, and how many there are. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly done: number;
  readonly total: number;
}

/** Where a node's chain ends. */
export interface ChainHead extends ChainEnd {
  readonly node: string;
}

/** What was looked at. */
export interface AuditSummary {
  /** Entries of each stream, and its first and last sequence number. */
  readonly streams: Readonly<Record<KeptStream, { messages: number; first: number; last: number }>>;
  readonly keys: number;
  readonly sessions: number;
  readonly requests: number;
  readonly results: number;
  /** Signatures that verify under their key. */
  readonly signaturesValid: number;
  /** Signatures that were made again from the recorded shares. */
  readonly signaturesRecombined: number;
  /** Messages stored again with the same bytes: harmless. */
  readonly repeats: number;
  /** Findings left to the next audit: what they miss may have been stored meanwhile. */
  readonly inFlight: number;
  readonly chainHeads: readonly ChainHead[];
  readonly findings: number;
  readonly notes: number;
  readonly byCode: Readonly<Partial<Record<FindingCode, number>>>;
  readonly durationMs: number;
}

const progressEvery = 1000;
const defaultHeldInputs = 4000;

/**
 * Verifies a history; yields what it finds, and returns the summary.
 * @throws HsmError `ERR_ABORTED`, and what the source throws when it cannot be read: the history is
 * then neither clean nor not
 */
export async function* verifyHistory(
  source: HistorySource,
  cluster: Cluster,
  options: VerifyOptions = {},
): AsyncGenerator<Finding, AuditSummary, undefined> {
  const audit = new Audit(cluster, await source.bounds(), options);
  for (const streams of [["THSM_KEY"], ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT"]] as const) {
    for await (const { stream, entry } of merge(source, streams)) {
      if (options.signal?.aborted === true) {
        throw new HsmError("ERR_ABORTED", "the audit was stopped");
      }
      audit.see(stream, entry);
      if (audit.seen % progressEvery === 0) options.onProgress?.(audit.progress);
      yield* audit.take();
    }
  }
  audit.finish();
  yield* audit.take();
  options.onProgress?.(audit.progress);
  return audit.summary();
}

/** The state of one audit. */
class Audit {
  readonly #cluster: Cluster;
  readonly #bounds: HistoryBounds;
  readonly #recombine: boolean;
  readonly #started = performance.now();
  readonly #sequences: Readonly<Record<KeptStream, SequenceCheck>>;
  readonly #messages: Record<KeptStream, number> = byStream(() => 0);
  readonly #chains = new Map<string, { owner: ChainOwner; chain: Chain }>();
  readonly #chainHeads: ChainHead[] = [];
  readonly #keys: KeyHistory;
  readonly #sessions: Sessions;
  readonly #signings: Signings;
  /** Test signatures that verify: request id → key. */
  readonly #tested = new Map<string, string>();
  #found: Finding[] = [];
  readonly #byCode = new Map<FindingCode, number>();
  readonly #totals = { finding: 0, note: 0 };
  #requests = 0;
  #results = 0;
  #valid = 0;
  #recombined = 0;
  #repeats = 0;
  #inFlight = 0;

  constructor(cluster: Cluster, bounds: HistoryBounds, options: VerifyOptions) {
    this.#cluster = cluster;
    this.#bounds = bounds;
    this.#recombine = options.recombine ?? true;
    const sequence = (stream: KeptStream): SequenceCheck =>
      new SequenceCheck(stream, bounds[stream], this.report);
    this.#sequences = byStream(sequence);
    this.#keys = new KeyHistory(cluster, this.report);
    this.#sessions = new Sessions(this.report);
    this.#signings = new Signings({
      keys: this.#keys,
      report: this.report,
      heldInputs: options.heldInputs ?? defaultHeldInputs,
      onSettled: (signing) => this.#judge(signing),
    });
  }

  readonly report = (facts: FindingFacts): void => {
    const { code, stream, seq } = facts;
    const bounds = stream === "THSM_DEAL" ? undefined : this.#bounds[stream];
    if (isAbsence(code) && (seq[0] ?? 0) > (bounds?.settled ?? 0)) {
      this.#inFlight++;
      return;
    }
    const finding = toFinding(facts);
    this.#byCode.set(code, (this.#byCode.get(code) ?? 0) + 1);
    this.#totals[finding.severity]++;
    this.#found.push(finding);
  };

  get seen(): number {
    return keptStreams.reduce((sum, stream) => sum + this.#messages[stream], 0);
  }

  get progress(): VerifyProgress {
    const total = keptStreams.reduce((sum, stream) => sum + this.#bounds[stream].last, 0);
    return { done: this.seen, total };
  }

  /** What was found since the last call. */
  take(): Finding[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  see(stream: KeptStream, entry: Entry): void {
    this.#messages[stream]++;
    this.#sequences[stream].see(entry.seq);
    const admitted = admit(this.#cluster, stream, entry, this.report);
    if (admitted === undefined) return;
    const { link, message } = admitted;
    if (link !== undefined && this.#chainOf(link.owner).add(link, message) === "repeat") {
      this.#repeats++;
    } else this.#apply(admitted);
  }

  finish(): void {
    for (const stream of keptStreams) this.#sequences[stream].finish();
    this.#signings.finish();
    this.#sessions.finish();
    for (const { owner, chain } of this.#chains.values()) {
      const end = chain.finish();
      if (end !== undefined && "node" in owner.whose) {
        this.#chainHeads.push({ node: owner.whose.node, ...end });
      }
    }
    for (const { message, body } of this.#keys.activations()) {
      if (this.#tested.get(body.rid) === body.key) continue;
      this.report({
        code: "AUDIT_KEY_UNTESTED",
        stream: "THSM_KEY",
        seq: [message.seq],
        client: body.client,
        key: body.key,
        rid: body.rid,
        text: `client ${body.client} activated key ${body.key} at ${body.time}, but the shares of its test ${body.rid} make no valid signature`,
      });
    }
  }

  summary(): AuditSummary {
    const of = (stream: KeptStream): { messages: number; first: number; last: number } => {
      const { first, last } = this.#bounds[stream];
      return { messages: this.#messages[stream], first, last };
    };
    return {
      streams: byStream(of),
      keys: this.#keys.size,
      sessions: this.#sessions.size,
      requests: this.#requests,
      results: this.#results,
      signaturesValid: this.#valid,
      signaturesRecombined: this.#recombined,
      repeats: this.#repeats,
      inFlight: this.#inFlight,
      chainHeads: this.#chainHeads.toSorted((one, other) => (one.node < other.node ? -1 : 1)),
      findings: this.#totals.finding,
      notes: this.#totals.note,
      byCode: Object.fromEntries(this.#byCode),
      durationMs: Math.round(performance.now() - this.#started),
    };
  }

  #apply(admitted: Admitted): void {
    switch (admitted.kind) {
      case "request":
        this.#requests++;
        this.#sessions.request(admitted, this.#keys.get(admitted.body.key)?.proposal.token);
        this.#signings.request(admitted);
        return;
      case "share":
        this.#signings.share(admitted);
        return;
      case "key":
        if (this.#keys.add(admitted) === "repeat") this.#repeats++;
        return;
      case "audit":
        this.#applyAudit(admitted);
        return;
      case "unknown":
        return;
    }
  }

  #applyAudit({ message, body }: Extract<Admitted, { kind: "audit" }>): void {
    switch (body.type) {
      case "session-opened":
      case "session-closed":
        this.#sessions.event({ message, body });
        return;
      case "result":
      case "failure":
        this.#signings.closing({ message, body });
        return;
      case "node-started":
      case "ignored":
        // Their place in the chain is all there is to check.
        return;
    }
  }

  #judge(signing: Signing): void {
    const request = signing.attempts[0]?.body;
    if (request === undefined) return;
    if (signing.closing?.body.type === "result") this.#results++;
    const key = this.#keys.get(request.key);
    const job = jobOf(signing, key, this.#recombine);
    const verdict = job === undefined ? undefined : judge(job);
    tellSigning(signing, key, verdict, this.report);
    if (verdict === undefined) return;
    this.#valid += verdict.valid;
    this.#recombined += verdict.recombined;
    if (request.kind === "test" && isSigned(signing, verdict)) {
      this.#tested.set(request.rid, request.key);
    }
  }

  #chainOf(owner: ChainOwner): Chain {
    let known = this.#chains.get(owner.name);
    if (known === undefined) {
      known = { owner, chain: new Chain(owner, this.report) };
      this.#chains.set(owner.name, known);
    }
    return known.chain;
  }
}
