/**
 * @module This node's word on what THSM_REQ holds. Every so often, by the times that the stream itself gives its
 * entries, so that all nodes speak of the same sizes, a node signs the Merkle root over all requests up to
 * there. When the stream turns out to be another one than before, it says so, and signs no checkpoint any more;
 * whether it answers requests is the history guard's to decide, who believes only what members have signed.
 */
import {
  checkpointDigest,
  checkpointText,
  nodeNoteKey,
  originOf,
  signCheckpoint,
} from "../checkpoint/checkpoint.js";
import { GrowingTree } from "../checkpoint/merkle.js";
import { formatNote, type NoteKey } from "../checkpoint/note.js";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { IdentityKey } from "../identity/identity-key.js";
import type { Logger } from "../log.js";
import type { NodeCheckpoint, NodeInconsistent } from "../streams/audit-events.js";
import type { Delivery, Junk } from "../streams/consume.js";
import { formatVersion } from "../streams/fields.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import {
  checkpointFiles,
  hexOf,
  readCheckpointState,
  writeCheckpointState,
  type CheckpointState,
  type SignedHead,
} from "./checkpoint-state.js";
import type { Outbox } from "./outbox.js";
import { RequestLog, type Seen } from "./request-log.js";

/** How many of its last checkpoints a node signs again as part of the cluster. */
const keptHeads = 64;
const retryMs = 1000;
/** Servers' clocks and ours: how long after its end an interval without requests is closed. */
const graceMs = 2000;

export interface CheckpointsOptions {
  readonly dataDir: string;
  readonly node: string;
  readonly cluster: Cluster;
  readonly key: IdentityKey;
  readonly intervalMs: number;
  readonly log: Logger;
  readonly onFailure: (error: HsmError) => void;
  readonly now: () => number;
  /** How long an acknowledgement waits for others to go to the disk with. */
  readonly gatherMs?: number;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #noteKey: NoteKey;
  readonly #origin: string;
  readonly #path: string;
  #signed: readonly SignedHead[];
  /** As signed last. */
  #last: GrowingTree;
  #log!: RequestLog;
  #conflict: string;
  /** The first entry that is missing, as the log tells. */
  #missing: number | undefined;
  /** The interval of the newest entry in the tree. */
  #interval = 0;
  #outbox: Pick<Outbox, "say"> | undefined;
  /** What is to be signed, in this order. */
  #signing: Promise<void> = Promise.resolve();

  private constructor(
    options: CheckpointsOptions,
    path: string,
    { tree, signed, conflict }: CheckpointState,
  ) {
    this.#options = options;
    this.#path = path;
    this.#signed = signed;
    this.#last = copyOf(tree);
    this.#conflict = conflict;
    this.#origin = originOf(options.cluster.name);
    this.#noteKey = nodeNoteKey(options.cluster.name, options.node, options.key.publicKey);
  }

  /** Takes up tree and checkpoints where they were. @throws HsmError `ERR_JOURNAL` */
  static async open(options: CheckpointsOptions): Promise<Checkpoints> {
    const files = checkpointFiles(options.dataDir);
    const state = await readCheckpointState(files.state);
    const checkpoints = new Checkpoints(options, files.state, state);
    checkpoints.#log = await RequestLog.open({
      path: files.requests,
      gatherMs: options.gatherMs,
      tree: state.tree,
      onNext: (tree, storedAt) => checkpoints.#next(tree, storedAt),
      onFailure: options.onFailure,
    });
    if (state.conflict !== "") {
      options.log.error({ conflict: state.conflict }, "no checkpoints: see docs/checkpoints.md");
    }
    return checkpoints;
  }

  /** From now on checkpoints are published. */
  speakBy(outbox: Pick<Outbox, "say">): void {
    this.#outbox = outbox;
  }

  /**
   * Hands a request on. Its acknowledgement waits until this node has on disk that it was there.
   */
  take(delivery: Delivery, handle: (delivery: Delivery) => void): void {
    const { seq, hash, time } = delivery.message;
    this.#take({ seq, hash, storedAt: Date.parse(time) }, delivery, (ack) =>
      handle({ ...delivery, ack }),
    );
  }

  /** An entry that is no message of ours has its place in the tree all the same. */
  takeJunk(junk: Junk): void {
    const { seq, time } = junk;
    this.#take({ seq, hash: "", storedAt: Date.parse(time) }, junk, (ack) => ack());
  }

  /** Why no checkpoint is signed any more: the stream is not what it was. "" as long as it is. */
  get conflict(): string {
    return this.#conflict;
  }

  /**
   * What this node signs as part of the cluster: only digests of its own last checkpoints, whose texts it
   * makes again from what it has seen.
   * @throws HsmError `ERR_REFUSED_BY_POLICY` for any other digest, `ERR_AUDIT_MISMATCH` in a changed history
   */
  requireSigned(digests: readonly string[]): void {
    if (this.#conflict !== "") throw new HsmError("ERR_AUDIT_MISMATCH", this.#conflict);
    const own = this.#signed.map(({ size, root }) =>
      checkpointDigest({ origin: this.#origin, size, root: Buffer.from(root, "hex") }),
    );
    const other = digests.find((digest) => !own.includes(digest));
    if (other === undefined) return;
    throw new HsmError(
      "ERR_REFUSED_BY_POLICY",
      `${other} is the digest of none of this node's last ${keptHeads} checkpoints`,
    );
  }

  /** Signs what is there when an interval has ended without a further request. */
  tick(): void {
    const { intervalMs, now, log } = this.#options;
    if (this.#interval < Math.floor((now() - graceMs) / intervalMs)) this.#sign(this.#log.tree);
    const { missing } = this.#log;
    if (missing === this.#missing) return;
    this.#missing = missing;
    if (missing !== undefined) log.warn({ missing }, "THSM_REQ lacks an entry: no checkpoints");
  }

  async close(): Promise<void> {
    await this.#signing;
    await this.#log.close();
  }

  #take(
    seen: Seen,
    { ack, retry }: Pick<Delivery, "ack" | "retry">,
    handOn: (ack: () => void) => void,
  ): void {
    const kept = this.#log.take(seen).catch((error: unknown) => this.#contradicted(error, seen));
    // Whoever waits for it hears of a failure; so does the process, which ends.
    kept.catch(() => undefined);
    handOn(() => void kept.then(ack, () => retry(retryMs)));
  }

  #contradicted(error: unknown, { seq, hash }: Seen): void {
    if (!(error instanceof HsmError) || error.code !== "ERR_AUDIT_MISMATCH") throw error;
    if (this.#conflict !== "") return;
    this.#conflict = error.message;
    const { log } = this.#options;
    log.error({ seq, shown: hash }, `${error.message}: no checkpoints until an operator acts`);
    this.#then(async () => {
      await this.#save(this.#last, this.#signed);
      const event: Unchained<NodeInconsistent> = {
        ...this.#head(),
        type: "inconsistent",
        seq,
        reason: error.message,
      };
      const { node } = this.#options;
      await this.#outbox?.say(
        streamNames.audit,
        formatSubject({ kind: "node-audit", node }),
        event,
      );
    });
  }

  /** Before entry `tree.size + 1`, stored at `storedAt`: whether it begins another interval. */
  #next(tree: GrowingTree, storedAt: number): void {
    // The times of entries from an earlier life are not known: those were the last of their interval.
    const { intervalMs, now } = this.#options;
    // A server that is far ahead must not silence this node for long.
    const interval = Math.floor(Math.min(storedAt, now() + intervalMs) / intervalMs);
    if (!(interval > this.#interval)) return;
    if (this.#interval > 0) this.#sign(tree);
    this.#interval = interval;
  }

  #sign(tree: GrowingTree): void {
    if (tree.size <= this.#last.size || this.#conflict !== "") return;
    const copy = copyOf(tree);
    this.#last = copy;
    this.#then(async () => {
      const { size } = copy;
      const signed = [...this.#signed, { size, root: hexOf(copy) }].slice(-keptHeads);
      await this.#save(copy, signed);
      // Nothing is signed by it, alone or with others, before it is on disk.
      this.#signed = signed;
      const text = checkpointText({ origin: this.#origin, size, root: copy.root() });
      const signature = signCheckpoint(text, this.#noteKey, this.#options.key);
      const event: Unchained<NodeCheckpoint> = {
        ...this.#head(),
        type: "checkpoint",
        size,
        note: formatNote({ text, signatures: [signature] }),
      };
      const { node } = this.#options;
      const subject = formatSubject({ kind: "node-checkpoint", node });
      await this.#outbox?.say(streamNames.audit, subject, event);
    });
  }

  #save(tree: GrowingTree, signed: readonly SignedHead[]): Promise<void> {
    return writeCheckpointState(this.#path, { tree, signed, conflict: this.#conflict });
  }

  #then(step: () => Promise<void>): void {
    const { onFailure } = this.#options;
    this.#signing = this.#signing.then(step).catch((cause: unknown) => {
      const text = `cannot keep a checkpoint: ${describeError(cause)}`;
      onFailure(new HsmError("ERR_JOURNAL", text, { cause }));
    });
  }

  #head(): { version: number; node: string; time: string } {
    const { node, now } = this.#options;
    return { version: formatVersion, node, time: new Date(now()).toISOString() };
  }
}

function copyOf({ size, subtrees }: GrowingTree): GrowingTree {
  return new GrowingTree(size, subtrees);
}

/** The journal gives a message its place in the chain. */
type Unchained<T extends { n: number; prev: string }> = Omit<T, "n" | "prev">;
