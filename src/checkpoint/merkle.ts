/**
 * @module The Merkle tree of RFC 6962, section 2.1: its root, growing leaf by leaf, and proofs that a leaf is
 * in it and that one tree continues another. Pure; leaves come as their hashes.
 */
import { createHash } from "node:crypto";
import { HsmError } from "../errors.js";

export const hashLength = 32;
const leafPrefix = Buffer.of(0);
const nodePrefix = Buffer.of(1);

/** Where the hash of leaf `index` (from 0) is. */
export type LeafHashes = (index: number) => Uint8Array;

export function leafHash(entry: Uint8Array): Buffer {
  return createHash("sha256").update(leafPrefix).update(entry).digest();
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash("sha256").update(nodePrefix).update(left).update(right).digest();
}

/** A tree that only grows: what is kept are the roots of its full subtrees, one for each 1 in `size`. */
export class GrowingTree {
  #size: number;
  /** The largest subtree first. */
  readonly #subtrees: Buffer[];

  /** Empty, or as `size` and `subtrees` of another one. @throws HsmError `ERR_INVALID_ARGUMENT` */
  constructor(size = 0, subtrees: readonly Uint8Array[] = []) {
    const isWhole = Number.isSafeInteger(size) && size >= 0 && onesOf(size) === subtrees.length;
    if (!isWhole || subtrees.some(({ length }) => length !== hashLength)) {
      throw new HsmError(
        "ERR_INVALID_ARGUMENT",
        `${subtrees.length} subtrees are no tree of ${size}`,
      );
    }
    this.#size = size;
    this.#subtrees = subtrees.map((one) => Buffer.from(one));
  }

  get size(): number {
    return this.#size;
  }

  get subtrees(): readonly Uint8Array[] {
    return this.#subtrees;
  }

  append(leaf: Uint8Array): void {
    let subtree: Buffer = Buffer.from(leaf);
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      subtree = nodeHash(this.#subtrees.pop() ?? leaf, subtree);
    }
    this.#subtrees.push(subtree);
    this.#size++;
  }

  /** Of the empty tree: the hash of nothing. */
  root(): Buffer {
    const [last, ...larger] = this.#subtrees.toReversed();
    if (last === undefined) return createHash("sha256").digest();
    return larger.reduce((right, left) => nodeHash(left, right), last);
  }
}

/** The audit path of leaf `index` in the tree of the first `size` leaves. */
export function inclusionProof(index: number, size: number, leaves: LeafHashes): Buffer[] {
  if (!(index >= 0 && index < size)) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  const path = (at: number, from: number, to: number): Buffer[] => {
    if (to - from === 1) return [];
    const middle = from + splitOf(to - from);
    return at < middle
      ? [...path(at, from, middle), subtreeHash(middle, to, leaves)]
      : [...path(at, middle, to), subtreeHash(from, middle, leaves)];
  };
  return path(index, 0, size);
}

/** Whether `proof` shows that the tree of `size` leaves with this root has `leaf` at `index`. */
export function isIncluded(
  { index, size, leaf }: { index: number; size: number; leaf: Uint8Array },
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!(index >= 0 && index < size)) return false;
  let hash: Buffer = Buffer.from(leaf);
  let [at, last] = [index, size - 1];
  for (const other of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(other, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else hash = nodeHash(hash, other);
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && hash.equals(root);
}

/** Proves that the first `older` of `newer` leaves are the tree of `older` leaves. */
export function consistencyProof(older: number, newer: number, leaves: LeafHashes): Buffer[] {
  if (!(older >= 1 && older <= newer))
    throw new RangeError(`${older} leaves are no part of ${newer}`);
  const path = (size: number, from: number, to: number, isKnown: boolean): Buffer[] => {
    if (size === to - from) return isKnown ? [] : [subtreeHash(from, to, leaves)];
    const middle = from + splitOf(to - from);
    return size <= middle - from
      ? [...path(size, from, middle, isKnown), subtreeHash(middle, to, leaves)]
      : [...path(size - (middle - from), middle, to, false), subtreeHash(from, middle, leaves)];
  };
  return path(older, 0, newer, true);
}

export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Whether `proof` shows that the tree `newer` begins with all of the tree `older`. */
export function isConsistent(
  older: TreeHead,
  newer: TreeHead,
  proof: readonly Uint8Array[],
): boolean {
  if (older.size < 1 || older.size > newer.size) return false;
  if (older.size === newer.size) return proof.length === 0 && isSame(older.root, newer.root);
  const isWholeSubtree = onesOf(older.size) === 1;
  const [first, ...rest] = isWholeSubtree ? [older.root, ...proof] : proof;
  if (first === undefined) return false;
  let [at, last] = [older.size - 1, newer.size - 1];
  while (at % 2 === 1) [at, last] = [half(at), half(last)];
  let before: Buffer = Buffer.from(first);
  let after = before;
  for (const other of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      [before, after] = [nodeHash(other, before), nodeHash(other, after)];
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else after = nodeHash(after, other);
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && before.equals(older.root) && after.equals(newer.root);
}

/** Root of the leaves `from`…`to` − 1. */
function subtreeHash(from: number, to: number, leaves: LeafHashes): Buffer {
  const tree = new GrowingTree();
  for (let index = from; index < to; index++) tree.append(leaves(index));
  return tree.root();
}

/** The largest power of two below `size`, which is at least 2. */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

// Not by bit operators: those end at 32 bits.
function half(value: number): number {
  return Math.floor(value / 2);
}

function onesOf(value: number): number {
  return value.toString(2).replaceAll("0", "").length;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.from(one).equals(other);
}
