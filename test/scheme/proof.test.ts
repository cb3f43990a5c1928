import { expect } from "chai";
import * as fc from "fast-check";
import { numberToBytes } from "../../src/scheme/bytes.js";
import {
  type GroupKey,
  parseSignatureShare,
  type ProofContext,
  ShareSigner,
  type SignatureShare,
  verifyShareProof,
} from "../../src/scheme/index.js";
import { KeyShare } from "../../src/scheme/key-share.js";
import { fixedRandom, testKey } from "../support/keys.js";
import { context, group, key, length, message, modulus, shares, spoiled } from "./fixture.js";
import { allShares, encoded, mutated, numRuns, signersOf } from "./support.js";

describe("scheme/proof", () => {
  const [signer] = signersOf(key) as [ShareSigner];
  const [share] = shares as [SignatureShare];
  const proof = signer.prove(message, context);
  const verifies = (
    bytes: Uint8Array,
    of: SignatureShare = share,
    under: ProofContext = context,
    text = "message",
    by: GroupKey = group,
  ): boolean => verifyShareProof(by, encoded(by, text), of, bytes, under);

  const part = (offset: number, value: Uint8Array): Uint8Array => {
    const changed = Uint8Array.from(proof);
    changed.set(value, offset);
    return changed;
  };

  it("holds for the share, and is different each time", () => {
    expect(verifies(proof)).to.equal(true);
    const again = signer.prove(message, context);
    expect(verifies(again)).to.equal(true);
    expect(again).to.not.deep.equal(proof);
  });

  it("holds for every party and message", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.string(), (index, text) => {
        const encodedMessage = encoded(group, text);
        const of = allShares(key, encodedMessage)[index - 1] as SignatureShare;
        const bytes = signersOf(key)[index - 1]?.prove(encodedMessage, context);
        expect(bytes && verifyShareProof(group, encodedMessage, of, bytes, context)).to.equal(true);
      }),
      { numRuns },
    );
  });

  it("holds for nothing else", () => {
    expect(verifies(proof, { index: 2, value: share.value })).to.equal(false);
    expect(verifies(proof, spoiled(group, share))).to.equal(false);
    expect(verifies(proof, shares[1])).to.equal(false);
    expect(verifies(proof, share, { ...context, epoch: 1 })).to.equal(false);
    expect(verifies(proof, share, { ...context, keyId: "" })).to.equal(false);
    expect(verifies(proof, share, context, "other")).to.equal(false);
    for (const index of [0, 6, 1.5, NaN]) {
      expect(verifies(proof, { index, value: share.value })).to.equal(false);
    }
    const sibling = testKey(1024).group;
    expect(verifies(proof, share, context, "message", sibling)).to.equal(false);
  });

  it("cannot be made for a wrong share, not even with the key share", () => {
    const other = signer.prove(encoded(group, "other"), context);
    expect(verifies(other)).to.equal(false);
    const wrongKey = new KeyShare(1, numberToBytes((key.shares[0]?.secret ?? 0n) + 1n, length));
    const wrong = new ShareSigner(group, wrongKey);
    const wrongShare = parseSignatureShare(group, 1, wrong.sign(message));
    expect(verifies(wrong.prove(message, context), wrongShare)).to.equal(false);
  });

  it("is refused after a change of any byte", () => {
    const accepted = Array.from(proof.keys()).filter((position) =>
      verifies(mutated(proof, position, 0x01)),
    );
    expect(accepted).to.deep.equal([]);
  }).timeout(20_000);

  it("is refused when cut, extended, oversized or out of range", () => {
    for (const bytes of [
      new Uint8Array(),
      proof.subarray(1),
      proof.subarray(0, -1),
      Uint8Array.from([...proof, 0]),
      new Uint8Array(1 << 20),
      new Uint8Array(proof.length),
      new Uint8Array(proof.length).fill(255),
      part(1, new Uint8Array(length)),
      part(1, numberToBytes(modulus, length)),
      part(1 + length, new Uint8Array(length)),
      part(1 + length, numberToBytes(modulus, length)),
      part(1 + 2 * length, new Uint8Array(length + 65)),
      part(1 + 2 * length, new Uint8Array(length + 65).fill(255)),
    ]) {
      expect(verifies(bytes)).to.equal(false);
    }
  });

  it("takes its randomness from its caller", () => {
    const one = signer.prove(message, context, fixedRandom("r"));
    expect(signer.prove(message, context, fixedRandom("r"))).to.deep.equal(one);
  });

  it("refuses an epoch that does not fit its transcript", () => {
    for (const epoch of [-1, 2 ** 32, 1.5, NaN]) {
      expect(() => signer.prove(message, { ...context, epoch })).to.throw(RangeError);
    }
  });
});
