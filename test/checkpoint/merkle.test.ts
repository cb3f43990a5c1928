import { createHash } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  consistencyProof,
  GrowingTree,
  inclusionProof,
  isConsistent,
  isIncluded,
  leafHash,
} from "../../src/checkpoint/merkle.js";
import { HsmError } from "../../src/errors.js";

/** The tree of RFC 6962 as the RFC defines it, word by word. */
function naiveRoot(entries: readonly Uint8Array[]): Buffer {
  const sha256 = (...parts: Uint8Array[]): Buffer =>
    createHash("sha256").update(Buffer.concat(parts)).digest();
  const [first] = entries;
  if (first === undefined) return sha256();
  if (entries.length === 1) return sha256(Buffer.of(0), first);
  let split = 1;
  while (split * 2 < entries.length) split *= 2;
  return sha256(Buffer.of(1), naiveRoot(entries.slice(0, split)), naiveRoot(entries.slice(split)));
}

function treeOf(entries: readonly Uint8Array[]): GrowingTree {
  const tree = new GrowingTree();
  for (const entry of entries) tree.append(leafHash(entry));
  return tree;
}

// The entries and roots that the reference implementation of RFC 6962 is tested with.
const entries = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => Buffer.from(hex, "hex"));
const roots = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const hex = (proof: readonly Uint8Array[]): string[] =>
  proof.map((one) => Buffer.from(one).toString("hex"));
const leaves = entries.map(leafHash);
const leafAt = (index: number): Uint8Array => leaves[index] ?? Buffer.alloc(0);
const sizes = fc.integer({ min: 1, max: 70 });
const many = Array.from({ length: 70 }, (_, index) => Buffer.from(`entry ${index}`));
const manyLeaves = many.map(leafHash);
const manyLeafAt = (index: number): Uint8Array => manyLeaves[index] ?? Buffer.alloc(0);

describe("the Merkle tree", () => {
  it("has the roots of the known vectors", () => {
    for (const [size, root] of roots.entries()) {
      expect(treeOf(entries.slice(0, size)).root().toString("hex")).to.equal(root);
    }
  });

  it("has the audit paths of the known vectors", () => {
    expect(hex(inclusionProof(0, 1, leafAt))).to.deep.equal([]);
    expect(hex(inclusionProof(5, 8, leafAt))).to.deep.equal([
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
    expect(hex(inclusionProof(2, 3, leafAt))).to.deep.equal([
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    ]);
    expect(hex(consistencyProof(6, 8, leafAt))).to.deep.equal([
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
  });

  it("has the root that the RFC's definition gives, whole or taken up again", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 70 }),
        fc.nat(),
        (all, cut) => {
          const first = treeOf(all.slice(0, cut % (all.length + 1)));
          const tree = new GrowingTree(first.size, first.subtrees);
          for (const entry of all.slice(first.size)) tree.append(leafHash(entry));
          expect(tree.root().equals(naiveRoot(all))).to.equal(true);
          expect(tree.size).to.equal(all.length);
        },
      ),
    );
  });

  it("is not taken up from what is none", () => {
    const hash = Buffer.alloc(32);
    const wrong: [number, Buffer[]][] = [
      [1, []],
      [3, [hash]],
      [-1, []],
      [1.5, [hash]],
      [1, [Buffer.alloc(31)]],
    ];
    for (const [size, subtrees] of wrong) {
      expect(() => new GrowingTree(size, subtrees)).to.throw(HsmError);
    }
  });

  it("proves each leaf, and no other leaf, place, size or root", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, place, change) => {
        const index = place % size;
        const root = treeOf(many.slice(0, size)).root();
        const proof = inclusionProof(index, size, manyLeafAt);
        const leaf = manyLeafAt(index);
        expect(isIncluded({ index, size, leaf }, proof, root)).to.equal(true);
        const other = leafHash(Buffer.from("other"));
        const wrong = proof.map((one, at) => (at === change % (proof.length || 1) ? other : one));
        expect(isIncluded({ index, size, leaf: other }, proof, root)).to.equal(false);
        expect(isIncluded({ index, size, leaf }, proof, other)).to.equal(false);
        expect(isIncluded({ index, size, leaf }, [...proof, other], root)).to.equal(false);
        expect(isIncluded({ index: size, size, leaf }, proof, root)).to.equal(false);
        if (proof.length > 0) {
          expect(isIncluded({ index, size, leaf }, wrong, root)).to.equal(false);
          expect(isIncluded({ index, size, leaf }, proof.slice(1), root)).to.equal(false);
        }
        if (size > 1) {
          const elsewhere = { index: (index + 1) % size, size, leaf };
          expect(isIncluded(elsewhere, proof, root)).to.equal(false);
        }
      }),
    );
  });

  it("proves that it continues each smaller one, and no other", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, cut, change) => {
        const olderTree = treeOf(many.slice(0, (cut % size) + 1));
        const older = { size: olderTree.size, root: olderTree.root() };
        const newer = { size, root: treeOf(many.slice(0, size)).root() };
        const proof = consistencyProof(older.size, size, manyLeafAt);
        expect(isConsistent(older, newer, proof)).to.equal(true);
        const other = leafHash(Buffer.from("other"));
        expect(isConsistent({ ...older, root: other }, newer, proof)).to.equal(false);
        expect(isConsistent(older, { ...newer, root: other }, proof)).to.equal(false);
        expect(isConsistent(older, newer, [...proof, other])).to.equal(false);
        if (proof.length === 0) return;
        const wrong = proof.map((one, at) => (at === change % proof.length ? other : one));
        expect(isConsistent(older, newer, wrong)).to.equal(false);
        expect(isConsistent(older, newer, proof.slice(1))).to.equal(false);
      }),
    );
  });
});
