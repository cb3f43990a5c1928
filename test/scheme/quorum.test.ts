import { expect } from "chai";
import * as fc from "fast-check";
import {
  combine,
  findQuorum,
  maxQuorumsTried,
  type SignatureShare,
  verifyShareProof,
  verifySignature,
} from "../../src/scheme/index.js";
import { inverse } from "../../src/scheme/inverse.js";
import { canonical } from "../../src/scheme/share.js";
import { testKey, type TestKey } from "../support/keys.js";
import {
  choices,
  context,
  group,
  key,
  message,
  modulus,
  replaced,
  shares,
  signature,
  spoiled,
} from "./fixture.js";
import { allShares, encoded, numRuns, signersOf, toHex } from "./support.js";

describe("scheme/quorum", () => {
  const otherMessage = allShares(key, encoded(group, "other"));
  const wrongValues: Record<string, (share: SignatureShare) => bigint> = {
    "x·y": ({ value }) => canonical(group, (value * 0xabcdefn) % modulus),
    "x²": ({ value }) => canonical(group, value ** 2n % modulus),
    "1/x": ({ value }) => canonical(group, inverse(value, modulus) ?? 0n),
    "2": () => 2n,
    "the signature": () => canonical(group, BigInt(`0x${toHex(signature)}`)),
    "another message's share": ({ index }) => otherMessage[index - 1]?.value ?? 0n,
    "another party's share": ({ index }) => shares[index % 5]?.value ?? 0n,
  };
  for (const [name, wrong] of Object.entries(wrongValues)) {
    it(`names exactly the party that sent ${name}`, () => {
      for (const share of shares) {
        const all = replaced(shares, share.index, wrong(share));
        for (const order of [all, all.toReversed()]) {
          const found = findQuorum(group, message, order);
          expect(found?.culprits).to.deep.equal([share.index]);
          expect(found?.suspects).to.deep.equal([]);
          expect(found?.quorum).to.not.include(share.index);
          expect(found?.signature).to.deep.equal(signature);
        }
      }
    });
  }

  it("finds the signature among as many wrong shares as there are parties to spare", () => {
    const picks = fc.constantFrom(...choices).chain(([parties, threshold]) =>
      fc.record({
        choice: fc.constant([parties, threshold] as const),
        bad: fc.subarray(
          Array.from({ length: parties }, (_, i) => i + 1),
          { maxLength: parties - threshold },
        ),
      }),
    );
    fc.assert(
      fc.property(picks, ({ choice, bad }) => {
        const dealt = testKey(1024, ...choice);
        const encodedMessage = encoded(dealt.group, "spare");
        const all = allShares(dealt, encodedMessage).map((share) =>
          bad.includes(share.index) ? spoiled(dealt.group, share) : share,
        );
        const found = findQuorum(dealt.group, encodedMessage, all);
        expect(found && verifySignature(dealt.group, encodedMessage, found.signature)).to.equal(
          true,
        );
        expect([...(found?.culprits ?? []), ...(found?.suspects ?? [])]).to.deep.equal(bad);
      }),
      { numRuns },
    );
  });

  it("counts a party once, by its first share", () => {
    const [one, two] = shares as [SignatureShare, SignatureShare];
    expect(findQuorum(group, message, [one, one, two, two, one])).to.equal(undefined);
    const found = findQuorum(group, message, [
      ...shares,
      ...shares.map((share) => spoiled(group, share)),
    ]);
    expect(found?.quorum).to.deep.equal([1, 2, 3]);
    expect(found?.culprits).to.deep.equal([]);
  });

  it("finds nothing where there is nothing", () => {
    expect(findQuorum(group, message, [])).to.equal(undefined);
    const none = shares.map(({ index }) => ({ index, value: 2n }));
    expect(findQuorum(group, message, none)).to.equal(undefined);
  });

  describe("colluders whose errors cancel", () => {
    // Parties 1 and 2 of the quorum {1, 2, 3}: λ = 3, -3, 1, so the same factor goes unnoticed.
    const factor = 16n;
    const collude = (share: SignatureShare): SignatureShare =>
      share.index > 2
        ? share
        : { index: share.index, value: canonical(group, (share.value * factor) % modulus) };
    const all = shares.map(collude);

    it("make a right signature of wrong shares", () => {
      expect(combine(group, message, all.slice(0, 3))).to.deep.equal(signature);
      expect(all[0]?.value).to.not.equal(shares[0]?.value);
    });

    it("do not get honest parties named, whatever arrives", () => {
      fc.assert(
        fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 3 }), (arrived) => {
          const some = arrived.flatMap((i) => all[i] ?? []);
          const found = findQuorum(group, message, some);
          expect((found?.culprits ?? []).filter((index) => index > 2)).to.deep.equal([]);
        }),
        { numRuns: 5 * numRuns },
      );
      expect(findQuorum(group, message, all)?.suspects).to.deep.equal([4, 5]);
    });

    it("are told from honest parties by proofs", () => {
      const proven = all.filter((share) => {
        const proof = signersOf(key)[share.index - 1]?.prove(message, context);
        return proof && verifyShareProof(group, message, share, proof, context);
      });
      expect(proven.map(({ index }) => index)).to.deep.equal([3, 4, 5]);
    });
  });

  describe("with 32 parties", () => {
    const many: TestKey = testKey(1024, 32, 17);
    const encodedMessage = encoded(many.group, "many");
    const all = allShares(many, encodedMessage);
    const withBad = (bad: readonly number[]): SignatureShare[] =>
      all.map((share) => (bad.includes(share.index) ? spoiled(many.group, share) : share));

    it("finds a quorum among some wrong shares", () => {
      for (const bad of [[], [1], [7, 20], [1, 2, 3, 4]]) {
        const found = findQuorum(many.group, encodedMessage, withBad(bad));
        expect([...(found?.culprits ?? []), ...(found?.suspects ?? [])]).to.deep.equal(bad);
      }
    });

    it("gives up after a bounded number of quorums", function () {
      this.timeout(20_000);
      expect(maxQuorumsTried).to.be.at.most(1000);
      const bad = Array.from({ length: 15 }, (_, i) => 2 * i + 1);
      expect(findQuorum(many.group, encodedMessage, withBad(bad))).to.equal(undefined);
    });
  });
});
