/**
 * @module The Merkle tree over THSM_REQ as this node has seen it. Requests may come twice and, after a crash,
 * out of order; each is on this node's disk before it is acknowledged, so none is missed. A stream that shows
 * another message at a place that was seen before is not the same stream any more.
 */
import { leafOfMessage, leafOfNothing } from "../checkpoint/checkpoint.js";
import type { GrowingTree } from "../checkpoint/merkle.js";
import { HsmError } from "../errors.js";
import { LeafFile, type Leaf, type LeafFileOptions } from "./leaf-file.js";

/** No honest stream runs this far ahead of what was acknowledged. */
const farthest = 1_000_000;

export interface RequestLogOptions extends LeafFileOptions {
  /** Where to begin: a tree whose leaves need not be read again. */
  readonly tree: GrowingTree;
  /** Called before the leaf `seq` is appended, with the server's time of it in ms: the tree has `seq − 1`. */
  readonly onNext: (tree: GrowingTree, storedAt: number) => void;
}

/** What stands at a place of the stream, and when the server says that it was stored. */
export interface Seen extends Leaf {
  readonly storedAt: number;
}

export class RequestLog {
  readonly #file: LeafFile;
  readonly #tree: GrowingTree;
  readonly #onNext: RequestLogOptions["onNext"];
  /** Known, beyond the end of the tree. */
  readonly #ahead = new Map<number, Seen>();
  /** On their way to the disk. */
  readonly #writing = new Map<number, string>();

  private constructor(file: LeafFile, { tree, onNext }: RequestLogOptions) {
    this.#file = file;
    this.#tree = tree;
    this.#onNext = onNext;
  }

  /** Takes up what is on disk behind `tree`. */
  static async open(options: RequestLogOptions): Promise<RequestLog> {
    const file = await LeafFile.open(options);
    const log = new RequestLog(file, options);
    for await (const leaf of file.since(options.tree.size + 1)) {
      log.#grow({ ...leaf, storedAt: 0 });
    }
    return log;
  }

  get tree(): GrowingTree {
    return this.#tree;
  }

  /** The first sequence number that is missing though later ones are known; undefined for none. */
  get missing(): number | undefined {
    return this.#ahead.size === 0 ? undefined : this.#tree.size + 1;
  }

  /**
   * Takes what the stream shows. Resolves when it is on disk.
   * @throws HsmError `ERR_AUDIT_MISMATCH` when it has shown something else there before, `ERR_JOURNAL`
   */
  async take(seen: Seen): Promise<void> {
    const { seq, hash } = seen;
    if (!(seq >= 1 && seq <= this.#tree.size + farthest)) {
      throw mismatch(`THSM_REQ shows entry ${seq}, this node has seen ${this.#tree.size}`);
    }
    const near = this.#writing.get(seq) ?? this.#ahead.get(seq)?.hash;
    // Nothing is waited for with what is new: two of one place must not pass each other here.
    const known = near ?? (seq > this.#tree.size ? undefined : (await this.#file.read(seq))?.hash);
    if (known !== undefined && known !== hash) {
      throw mismatch(
        `THSM_REQ shows another entry ${seq} than before: ${hash || "nothing readable"}, not ${known || "nothing readable"}`,
      );
    }
    if (known !== undefined && !this.#writing.has(seq)) return;
    this.#writing.set(seq, hash);
    try {
      await this.#file.write({ seq, hash });
    } finally {
      this.#writing.delete(seq);
    }
    this.#grow(seen);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #grow(seen: Seen): void {
    // Written twice by two deliveries of one message.
    if (seen.seq > this.#tree.size) this.#ahead.set(seen.seq, seen);
    for (;;) {
      const next = this.#ahead.get(this.#tree.size + 1);
      if (next === undefined) return;
      this.#onNext(this.#tree, next.storedAt);
      this.#ahead.delete(next.seq);
      this.#tree.append(next.hash === "" ? leafOfNothing : leafOfMessage(next.hash));
    }
  }
}

function mismatch(text: string): HsmError {
  return new HsmError("ERR_AUDIT_MISMATCH", text);
}
