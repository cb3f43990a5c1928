/**
 * @module Checkpoints against the stream: the tree over THSM_REQ as it is read, and every root that a node has
 * signed of it, in the history itself or in a file that was kept elsewhere. A history that was cut at the same
 * moment in all streams shows against such a file, and against nothing else.
 *
 * Memory: 32 bytes a request. A node's checkpoint is compared as soon as the requests are there that it is over,
 * and forgotten: there are many in a year.
 */
import { clusterNoteKey, isSignedBy, keysNamedIn } from "../../checkpoint/checkpoint.js";
import { GrowingTree } from "../../checkpoint/merkle.js";
import { parseNote, type Note } from "../../checkpoint/note.js";
import { describeError, HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { fromBase64url } from "../../identity/encoding.js";
import type { NodeCheckpoint } from "../../streams/audit-events.js";
import { publicKeyDer } from "../verify.js";
import type { Read } from "./admit.js";
import { checkpointIn, signersOf } from "./checkpoint-note.js";
import type { FindingCode, Report } from "./findings.js";
import type { KeyHistory, KeyRecord } from "./key-history.js";
import { StreamLeaves } from "./stream-leaves.js";

/** Somebody's word of a root: in the history at `seq`, or in a file. */
interface Claim {
  readonly size: number;
  readonly root: string;
  readonly seq: readonly number[];
  readonly node?: string;
  readonly who: string;
}

/** Roots that nodes may still name: those of the sizes that others named last. */
const rememberedRoots = 1024;

export class CheckpointCheck {
  readonly #cluster: Cluster;
  readonly #report: Report;
  readonly #keys: Pick<KeyHistory, "get">;
  readonly #kept: readonly Note[];
  readonly #leaves = new StreamLeaves();
  /** Over the first of them, up to the largest size that was named. */
  readonly #tree = new GrowingTree();
  /** Size → root in hex, the oldest first. */
  readonly #roots = new Map<number, string>();
  /** What could not be compared yet. */
  readonly #claims: Claim[] = [];
  /** Node's name and text of the kept checkpoints that nodes have signed, until the event is there. */
  readonly #unrecorded: Set<string>;

  /** `kept`: checkpoints from elsewhere. */
  constructor(
    cluster: Cluster,
    keys: Pick<KeyHistory, "get">,
    kept: readonly Note[],
    report: Report,
  ) {
    this.#keys = keys;
    this.#cluster = cluster;
    this.#report = report;
    this.#kept = kept;
    this.#unrecorded = new Set(
      kept.flatMap((note) => signersOf(cluster, note).map((node) => `${node} ${note.text}`)),
    );
  }

  /** An entry of THSM_REQ, in order; `hash` is undefined for what is no message of ours. */
  entry(seq: number, hash: string | undefined): void {
    this.#leaves.entry(seq, hash);
  }

  event({ message, body: { node, size, note, time } }: Read<NodeCheckpoint>): void {
    const who = `node ${node} at ${time}`;
    const where = { seq: [message.seq], node, who };
    try {
      const read = parseNote(note);
      const checkpoint = checkpointIn(this.#cluster, read);
      if (checkpoint.size !== size || !signersOf(this.#cluster, read).includes(node)) {
        throw new HsmError(
          "ERR_INVALID_SIGNATURE",
          `it is not ${node}'s, or not of ${size} requests`,
        );
      }
      this.#unrecorded.delete(`${node} ${read.text}`);
      const claim = { ...where, size, root: hexOf(checkpoint.root) };
      const root = this.#rootOf(size);
      if (root === undefined) this.#claims.push(claim);
      else this.#compare(claim, root);
    } catch (error) {
      const why = describeError(error);
      this.#tell("AUDIT_CHECKPOINT_BAD", { ...where, size, root: "" }, `is no checkpoint: ${why}`);
    }
  }

  /** After the last entry. */
  finish(): void {
    const files = this.#kept.map((note) => this.#readKept(note));
    const claims = [...this.#claims, ...files.filter((claim) => claim !== undefined)];
    const tree = new GrowingTree();
    for (const claim of claims.toSorted((one, other) => one.size - other.size)) {
      if (claim.size > this.#leaves.size) {
        const what = `is over ${claim.size} requests, THSM_REQ has ${this.#leaves.size}: its end is gone`;
        this.#tell("AUDIT_CHECKPOINT_BEYOND_STREAM", claim, what);
        continue;
      }
      this.#grow(tree, claim.size);
      this.#compare(claim, hexOf(tree.root()));
    }
  }

  /** Undefined when it cannot be told now: the requests are not there yet, or others have long named larger sizes. */
  #rootOf(size: number): string | undefined {
    const known = this.#roots.get(size);
    if (known !== undefined || size < this.#tree.size || size > this.#leaves.size) return known;
    this.#grow(this.#tree, size);
    const root = hexOf(this.#tree.root());
    this.#roots.set(size, root);
    const [oldest = size] = this.#roots.keys();
    if (this.#roots.size > rememberedRoots) this.#roots.delete(oldest);
    return root;
  }

  #grow(tree: GrowingTree, size: number): void {
    while (tree.size < size) tree.append(this.#leaves.at(tree.size));
  }

  #compare(claim: Claim, root: string): void {
    if (root === claim.root) return;
    const what = `of ${claim.size} requests has the root ${claim.root}, THSM_REQ has ${root}`;
    this.#tell("AUDIT_CHECKPOINT_WRONG_ROOT", claim, what);
  }

  #readKept(note: Note): Claim | undefined {
    const who = "a checkpoint kept elsewhere";
    const claim = { seq: [], who, size: 0, root: "" };
    try {
      const { size, root } = checkpointIn(this.#cluster, note);
      const signers = signersOf(this.#cluster, note);
      const keys = this.#keysOf(note);
      if (signers.length === 0 && keys.length === 0) {
        throw new HsmError("ERR_INVALID_SIGNATURE", "nobody of the cluster has signed it");
      }
      for (const node of signers) {
        if (!this.#unrecorded.has(`${node} ${note.text}`)) continue;
        const what = `of ${size} requests is signed by node ${node}, which recorded none such`;
        this.#tell("AUDIT_CHECKPOINT_NOT_RECORDED", { ...claim, node }, what);
      }
      return { ...claim, size, root: hexOf(root) };
    } catch (error) {
      this.#tell("AUDIT_CHECKPOINT_BAD", claim, `is none: ${describeError(error)}`);
      return undefined;
    }
  }

  /** The cluster's keys that have signed. @throws HsmError when one is named that has not, or that is none */
  #keysOf(note: Note): string[] {
    const { name } = this.#cluster;
    const named = keysNamedIn(note, name);
    for (const keyId of named) {
      const key = this.#keys.get(keyId);
      const isForCheckpoints = key?.proposal.encodings.includes("checkpoint") === true;
      if (key === undefined || key.activation === undefined || !isForCheckpoints) {
        const text = `THSM_KEY has no key ${keyId} that signs checkpoints`;
        throw new HsmError("ERR_UNKNOWN_KEY", text);
      }
      if (!isSignedBy(note, clusterNoteKey(name, keyId, derOf(key)))) {
        throw new HsmError("ERR_INVALID_SIGNATURE", `key ${keyId} has not signed it`);
      }
    }
    return named;
  }

  #tell(code: FindingCode, { seq, node, who }: Claim, what: string): void {
    this.#report({
      code,
      stream: "THSM_AUDIT",
      seq,
      ...(node === undefined ? {} : { node }),
      text: `${seq.length > 0 ? `the checkpoint of ${who}` : who} ${what}`,
    });
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function derOf({ proposal }: KeyRecord): Uint8Array {
  const modulus = fromBase64url(proposal.modulus, "modulus");
  return publicKeyDer({
    modulus,
    publicExponent: fromBase64url(proposal.publicExponent, "exponent"),
  });
}
