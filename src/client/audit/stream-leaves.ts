/** @module The leaves of the tree over THSM_REQ, as the stream is read: 32 bytes a request. */
import { leafOfMessage, leafOfNothing } from "../../checkpoint/checkpoint.js";
import { hashLength } from "../../checkpoint/merkle.js";

export class StreamLeaves {
  #bytes = Buffer.alloc(hashLength * 1024);
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

  /** Leaf `index`, from 0. */
  at(index: number): Uint8Array {
    return this.#bytes.subarray(index * hashLength, (index + 1) * hashLength);
  }

  #append(leaf: Buffer): void {
    if ((this.#size + 1) * hashLength > this.#bytes.length) {
      const grown = Buffer.alloc(hashLength * Math.ceil((this.#size + 1) * 1.25));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    leaf.copy(this.#bytes, this.#size++ * hashLength);
  }
}
