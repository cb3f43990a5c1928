/** @module Chance that can be had again: THSM_SEED repeats a run. */

export const seed: number = Number(process.env["THSM_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** A stream of choices (mulberry32): the same for the same seed and name. */
export class Chance {
  #state: number;

  constructor(name: string) {
    this.#state = Buffer.from(name).reduce((sum, byte) => (sum * 31 + byte) | 0, seed | 0);
  }

  /** 0 … below−1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  /** True once in `many`. */
  once(many: number): boolean {
    return this.below(many) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new RangeError("nothing to pick from");
    return picked;
  }

  shuffled<T>(all: readonly T[]): T[] {
    const left = [...all];
    return all.flatMap(() => left.splice(this.below(left.length), 1));
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** The same with something wrong: bits, lengths, halves of it twice. */
  mutated(original: Buffer): Buffer {
    const copy = Buffer.from(original);
    switch (this.below(6)) {
      case 0:
        return copy.subarray(0, this.below(copy.length + 1));
      case 1:
        return Buffer.concat([copy, this.bytes(1 + this.below(64))]);
      case 2: {
        const at = this.below(copy.length + 1);
        return Buffer.concat([copy.subarray(0, at), copy.subarray(at >> 1)]);
      }
      case 3:
        return this.bytes(this.below(400));
      default:
        for (let i = this.below(8); i >= 0 && copy.length > 0; i--) {
          copy[this.below(copy.length)] = this.below(256);
        }
        return copy;
    }
  }
}
