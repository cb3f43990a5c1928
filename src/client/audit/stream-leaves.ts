/** @module The leaves of the tree over THSM_REQ, as the stream is read: 32 bytes a request. */
import { leafOfMessage, leafOfNothing } from "../../checkpoint/checkpoint.js";
import { hashLength } from "../../checkpoint/merkle.js";

const leavesPerChunk = 4096;

export class StreamLeaves {
  // Chunks, because one block that grows is copied again and again, and part of it is unused.
  readonly #chunks: Buffer[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** An entry, in order; `hash` is undefined for what is no message of ours. Missing ones are nothing. */
  entry(seq: number, hash: string | undefined): void {
    if (seq <= this.#size) return;
    while (this.#size < seq - 1) this.#append(leafOfNothing);
    this.#append(hash === undefined ? leafOfNothing : leafOfMessage(hash));
  }

  /** Leaf `index`, from 0. @throws RangeError beyond the end */
  at(index: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(index / leavesPerChunk)];
    if (chunk === undefined || index >= this.#size) throw new RangeError(`no leaf ${index}`);
    const at = (index % leavesPerChunk) * hashLength;
    return chunk.subarray(at, at + hashLength);
  }

  #append(leaf: Buffer): void {
    const at = (this.#size++ % leavesPerChunk) * hashLength;
    if (at === 0) this.#chunks.push(Buffer.alloc(leavesPerChunk * hashLength));
    leaf.copy(this.#chunks.at(-1) ?? leaf, at);
  }
}
