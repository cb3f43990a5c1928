/**
 * @module The state of one audit: what every check knows so far, fed with the entries of the streams in order.
 * Signatures of messages and the arithmetic of signings are done elsewhere; what came out comes in again
 * in the same order, so that the same history always tells the same.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { Blames } from "./blames.js";
import type { AuditOptions } from "./audit-options.js";
import type { AuditItem, AuditSummary, ChainHead, VerifyProgress } from "./audit-items.js";
import { TokenObjects } from "../../streams/token-objects.js";
import { admit, type Admitted, type Opened } from "./admit.js";
import { Chains } from "./chains.js";
import { CheckpointCheck } from "./checkpoints.js";
import type { Report } from "./findings.js";
import { KeyHistory } from "./key-history.js";
import { Positions, type Mark } from "./positions.js";
import type { Verdict } from "./recombine.js";
import type { SigningJob } from "./signing-job.js";
import { isSigningInScope } from "./scope.js";
import { SequenceCheck } from "./sequence.js";
import { Sessions } from "./sessions.js";
import type { Signing } from "./signing.js";
import { Signings } from "./signings.js";
import { byStream, keptStreams, type HistoryBounds, type KeptStream } from "./sources.js";
import { Told } from "./told.js";
import { isSigned, jobOf, tellSigning } from "./verdict.js";

const defaultHeldInputs = 4000;
const defaultOpenInputs = 20_000;

/** What one audit knows. Fed with entries in order; tells findings as it goes. */
export class Audit {
  readonly #bounds: HistoryBounds;
  readonly #options: AuditOptions;
  readonly #started = performance.now();
  readonly #sequences: Readonly<Record<KeptStream, SequenceCheck>>;
  readonly #messages: Record<KeptStream, number> = byStream(() => 0);
  readonly #chains: Chains;
  #chainHeads: readonly ChainHead[] = [];
  readonly #keys: KeyHistory;
  readonly #objects: TokenObjects;
  readonly #sessions: Sessions;
  readonly #signings: Signings;
  readonly #blames: Blames;
  readonly #checkpoints: CheckpointCheck;
  /** Test signatures that verify: request id → key. */
  readonly #tested = new Map<string, string>();
  readonly #told: Told;
  readonly #report: Report;
  #settled: Signing[] = [];
  #requests = 0;
  #results = 0;
  #valid = 0;
  #recombined = 0;
  #repeats = 0;
  #notVerified = 0;
  #verifiedBefore = 0;
  readonly #positions: Positions | undefined;
  readonly #again: Record<KeptStream, number[]> = byStream(() => []);

  constructor(cluster: Cluster, bounds: HistoryBounds, options: AuditOptions) {
    this.#bounds = bounds;
    this.#options = options;
    this.#told = new Told(bounds, options.scope);
    const { report } = this.#told;
    this.#report = report;
    const isMarked = options.bookmark !== undefined || options.onMark !== undefined;
    this.#positions = isMarked ? new Positions(options.bookmark, report) : undefined;
    const sequence = (stream: KeptStream): SequenceCheck =>
      new SequenceCheck(stream, bounds[stream], report);
    this.#sequences = byStream(sequence);
    this.#keys = new KeyHistory(cluster, report);
    this.#objects = new TokenObjects(cluster);
    this.#chains = new Chains(report);
    this.#sessions = new Sessions(report);
    this.#blames = new Blames(cluster, report);
    this.#checkpoints = new CheckpointCheck(cluster, this.#keys, options.checkpoints ?? [], report);
    this.#signings = new Signings({
      keys: this.#keys,
      report,
      heldInputs: options.heldInputs ?? defaultHeldInputs,
      openInputs: options.openInputs ?? defaultOpenInputs,
      onSettled: (signing) => this.#settled.push(signing),
    });
  }

  get seen(): number {
    return keptStreams.reduce((sum, stream) => sum + this.#messages[stream], 0);
  }

  get progress(): VerifyProgress {
    const total = keptStreams.reduce((sum, stream) => sum + this.#bounds[stream].last, 0);
    return { done: this.seen, total };
  }

  /** What there is to tell since the last call. */
  takeItems(): readonly AuditItem[] {
    return this.#told.takeItems();
  }

  /** The signings since the last call to which nothing will be added. They are to be concluded. */
  takeSettled(): readonly Signing[] {
    const settled = this.#settled;
    if (settled.length > 0) this.#settled = [];
    return settled;
  }

  /** Whether an earlier audit verified the entry's signature. Asked once for each entry, in order. */
  takeKnown({ stream, entry }: Opened): boolean {
    return this.#positions?.takeKnown(stream, entry.seq) === true;
  }

  see(opened: Opened, hasTrueClaim: boolean): void {
    const { stream, entry } = opened;
    this.#messages[stream]++;
    this.#sequences[stream].see(entry.seq);
    this.#positions?.see(stream, entry);
    if (!hasTrueClaim) this.#again[stream].push(entry.seq);
    if (stream === "THSM_REQ") {
      this.#checkpoints.entry(entry.seq, "message" in entry ? entry.message.hash : undefined);
    }
    const admitted = admit(opened, hasTrueClaim, this.#report);
    if (admitted === undefined) return;
    const { link, message } = admitted;
    if (link !== undefined && this.#chains.add(link, message) === "repeat") {
      this.#repeats++;
      return;
    }
    if (this.#options.events === true) {
      this.#told.add({ type: "event", event: { stream, message, body: admitted.body } });
    }
    this.#apply(admitted);
  }

  /** The work that a signing is; undefined when there is nothing to compute with, or nobody asked for it. */
  jobOf(signing: Signing): SigningJob | undefined {
    const request = signing.attempts[0]?.body;
    if (request === undefined) return undefined;
    const isAsked = request.kind === "test" || isSigningInScope(this.#options.scope, signing);
    if (!isAsked) {
      this.#notVerified += request.inputs.length;
      return undefined;
    }
    const recombine = this.#options.recombine ?? true;
    if (this.#isJudged(signing, recombine)) {
      this.#verifiedBefore += request.inputs.length;
      return undefined;
    }
    return jobOf(signing, this.#keys.get(request.key), recombine);
  }

  /** Whether an earlier audit has judged a signing, and nothing of it is new or was wrong. */
  #isJudged({ attempts, answers, closing }: Signing, recombine: boolean): boolean {
    // The tests of keys are what activations rest on; what is not closed is told by what its shares make.
    if (closing === undefined || attempts[0]?.body.kind === "test") return false;
    const entries = {
      THSM_REQ: attempts.map(({ seq }) => seq),
      THSM_SHARE: answers.map(({ seq }) => seq),
      THSM_AUDIT: [closing.seq],
    };
    return this.#positions?.areJudged(entries, recombine) === true;
  }

  /** Takes the verdict on a signing, undefined when there was no job. */
  conclude(signing: Signing, verdict: Verdict | undefined): void {
    const request = signing.attempts[0]?.body;
    if (request === undefined) return;
    if (signing.closing?.body.type === "result") this.#results++;
    const key = this.#keys.get(request.key);
    const isAsked = verdict !== undefined || isSigningInScope(this.#options.scope, signing);
    const before = this.#told.reports;
    if (isAsked) tellSigning(signing, key, verdict, this.#blames, this.#report);
    // What is not closed is judged again anyhow.
    const { seq } = signing.attempts[0] ?? {};
    const isToRemember = this.#told.reports > before && signing.closing !== undefined;
    if (isToRemember && seq !== undefined) this.#again.THSM_REQ.push(seq);
    if (this.#options.signings === true && isAsked) {
      this.#told.add({ type: "signing", signing, verdict });
    }
    if (verdict === undefined) return;
    this.#valid += verdict.valid;
    this.#recombined += verdict.recombined;
    if (request.kind === "test" && isSigned(signing, verdict)) {
      this.#tested.set(request.rid, request.key);
    }
  }

  /** After the last entry: everything that is still held is settled. */
  finish(): void {
    for (const stream of keptStreams) this.#sequences[stream].finish();
    this.#positions?.finish();
    this.#signings.finish();
  }

  /** After the last verdict: what only the whole history shows. */
  close(): void {
    this.#sessions.finish();
    this.#checkpoints.finish();
    this.#chainHeads = this.#chains.finish();
    for (const { message, body } of this.#keys.activations()) {
      if (this.#tested.get(body.rid) === body.key) continue;
      this.#report({
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

  /** What the next audit may rely on; undefined when this one was not asked for it. */
  mark(): Mark | undefined {
    if (this.#positions === undefined) return undefined;
    return {
      time: new Date().toISOString(),
      recombined: this.#options.recombine ?? true,
      streams: this.#positions.mark(),
      again: this.#again,
    };
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
      notVerified: this.#notVerified,
      verifiedBefore: this.#verifiedBefore,
      chainHeads: this.#chainHeads,
      ...this.#told.summary(),
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
      case "object":
        this.#applyObject(admitted);
        return;
      case "audit":
        this.#applyAudit(admitted);
        return;
      case "unknown":
        return;
    }
  }

  #applyObject({ message, body }: Extract<Admitted, { kind: "object" }>): void {
    try {
      this.#objects.take(body);
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      this.#report({
        code: "AUDIT_KEY_EVENT_ILLEGAL",
        stream: "THSM_KEY",
        seq: [message.seq],
        client: body.client,
        text: `client ${body.client} recorded ${error.message}, at ${body.time}, which is not right`,
      });
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
      case "checkpoint":
        this.#checkpoints.event({ message, body });
        return;
      case "inconsistent":
        this.#report({
          code: "AUDIT_NODE_INCONSISTENT",
          stream: "THSM_AUDIT",
          seq: [message.seq],
          node: body.node,
          text: `node ${body.node} signs no checkpoint any more since ${body.time}: ${body.reason}`,
        });
        return;
      case "rotated":
        for (const stream of keptStreams) this.#sequences[stream].rotated(body);
        this.#report({
          code: "AUDIT_ROTATED",
          stream: "THSM_AUDIT",
          seq: [message.seq],
          text: `operator ${body.operator} let go of what an export keeps at ${body.time}, stream by stream up to which entry of how many: ${body.letGo.join(", ")}; the export's manifest.json has SHA-256 ${body.manifest}`,
        });
        return;
      case "node-started":
      case "ignored":
        // Their place in the chain is all there is to check.
        return;
      case "misbehaviour":
      case "node-cleared":
        this.#blames.add({ message, body });
        return;
    }
  }
}
