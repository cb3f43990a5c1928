import { expect } from "chai";
import * as fc from "fast-check";
import { HsmError, InvalidSignatureShareError } from "../../src/errors.js";
import { inverse } from "../../src/scheme/inverse.js";
import { numberToBytes, randomBelow } from "../../src/scheme/bytes.js";
import {
  combine,
  findQuorum,
  type GroupKey,
  maxQuorumsTried,
  parseKeyShare,
  parseSignatureShare,
  type ProofContext,
  serializeKeyShare,
  ShareSigner,
  type SignatureShare,
  verifyShareProof,
  verifySignature,
} from "../../src/scheme/index.js";
import { canonical } from "../../src/scheme/share.js";
import { KeyShare } from "../../src/scheme/key-share.js";
import { fixedRandom, testKey, type TestKey } from "../support/keys.js";
import { allShares, encoded, expectCode, mutated, numRuns, signersOf, toHex } from "./support.js";

const key = testKey(1024, 5, 3);
const { group } = key;
const { modulus, modulusLength: length } = group;
const message = encoded(group, "message");
const shares = allShares(key, message);
const signature = combine(group, message, shares.slice(0, 3));
const context: ProofContext = { keyId: "00112233445566778899aabbccddeeff", epoch: 0 };

const choices = [
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [5, 5],
  [7, 4],
] as const;

/**
 * A share that is in range and wrong by a factor of its own: the same factor for two parties can
 * cancel, as colluders do below.
 */
function spoiled(of: GroupKey, { index, value }: SignatureShare): SignatureShare {
  const factor = randomBelow(of.modulus, fixedRandom(`spoiled/${index}`));
  return { index, value: canonical(of, (value * factor) % of.modulus) };
}

function replaced(
  all: readonly SignatureShare[],
  index: number,
  value: bigint,
): readonly SignatureShare[] {
  return all.map((share) => (share.index === index ? { index, value } : share));
}

describe("scheme/signer", () => {
  it("signs the same message the same way", () => {
    const signer = new ShareSigner(group, key.shares[0] as KeyShare);
    expect(signer.sign(message)).to.deep.equal(signer.sign(message));
    expect(signer.sign(message)).to.have.length(length);
  });

  it("signs only numbers in range", () => {
    const [signer] = signersOf(key) as [ShareSigner];
    for (const bytes of [
      new Uint8Array(length),
      numberToBytes(1n, length),
      numberToBytes(modulus - 1n, length),
      numberToBytes(modulus, length),
      new Uint8Array(length).fill(255),
      message.subarray(1),
      Uint8Array.from([0, ...message]),
      new Uint8Array(),
    ]) {
      expectCode(() => signer.sign(bytes), "ERR_INVALID_ARGUMENT");
      expectCode(() => signer.prove(bytes, context), "ERR_INVALID_ARGUMENT");
      expectCode(() => combine(group, bytes, shares.slice(0, 3)), "ERR_INVALID_ARGUMENT");
      expectCode(() => findQuorum(group, bytes, shares), "ERR_INVALID_ARGUMENT");
    }
  });

  it("neither signs nor proves after erase", () => {
    const share = parseKeyShare(serializeKeyShare(key.shares[0] as KeyShare, group), group);
    const signer = new ShareSigner(group, share);
    signer.erase();
    expectCode(() => signer.sign(message), "ERR_KEY_NOT_ACTIVE");
    expectCode(() => signer.prove(message, context), "ERR_KEY_NOT_ACTIVE");
    expect(share.secret).to.equal(key.shares[0]?.secret);
  });

  it("is made for parties of the group only", () => {
    for (const index of [0, 6, 1.5, NaN]) {
      const share = new KeyShare(index, new Uint8Array(length).fill(1));
      expect(() => new ShareSigner(group, share)).to.throw(RangeError);
    }
  });
});

describe("scheme/share", () => {
  const right = numberToBytes(shares[0]?.value ?? 0n, length);

  it("comes back from its bytes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.string(), (index, text) => {
        const bytes = signersOf(key)[index - 1]?.sign(encoded(group, text)) ?? new Uint8Array();
        const share = parseSignatureShare(group, index, bytes);
        expect(share.index).to.equal(index);
        expect(numberToBytes(share.value, length)).to.deep.equal(bytes);
      }),
      { numRuns },
    );
  });

  it("is refused from parties that are not there, without a culprit", () => {
    for (const index of [0, -1, 6, 33, 1.5, NaN, Infinity]) {
      expect(() => parseSignatureShare(group, index, right))
        .to.throw(InvalidSignatureShareError)
        .with.property("culprits")
        .that.deep.equals([]);
    }
  });

  const outOfRange: Record<string, Uint8Array> = {
    "0": new Uint8Array(length),
    "1": numberToBytes(1n, length),
    "N-1": numberToBytes(modulus - 1n, length),
    N: numberToBytes(modulus, length),
    "beyond N": new Uint8Array(length).fill(255),
    "-x": numberToBytes(modulus - (shares[0]?.value ?? 0n), length),
    "(N+1)/2": numberToBytes((modulus + 1n) / 2n, length),
    "a factor of N": numberToBytes(key.p, length),
    "a multiple of a factor of N": numberToBytes(3n * key.q, length),
    "no bytes": new Uint8Array(),
    "one byte too few": right.subarray(1),
    "one byte too many": Uint8Array.from([0, ...right]),
    "a megabyte": new Uint8Array(1 << 20).fill(1),
  };
  for (const [name, bytes] of Object.entries(outOfRange)) {
    it(`is refused when it is ${name}, and its party named`, () => {
      expect(() => parseSignatureShare(group, 1, bytes))
        .to.throw(InvalidSignatureShareError)
        .that.deep.includes({ code: "ERR_INVALID_SIGNATURE_SHARE", culprits: [1] });
    });
  }

  it("is found wrong after a change of any byte", () => {
    for (let position = 0; position < length; position++) {
      let result;
      try {
        const changed = parseSignatureShare(group, 1, mutated(right, position, 0x10));
        result = findQuorum(group, message, [changed, ...shares.slice(1)])?.culprits;
      } catch (error) {
        result = (error as InvalidSignatureShareError).culprits;
      }
      expect(result).to.deep.equal([1]);
    }
  });
});

describe("scheme/combine", () => {
  it("gives one signature, whichever k of n and in whatever order", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...choices),
        fc.string(),
        fc.infiniteStream(fc.nat()),
        (choice, text, ranks) => {
          const [parties, threshold] = choice;
          const dealt = testKey(1024, parties, threshold);
          const encodedMessage = encoded(dealt.group, text);
          const all = allShares(dealt, encodedMessage);
          const pick = (): SignatureShare[] =>
            all
              .map((share) => ({ share, rank: ranks.next().value ?? 0 }))
              .toSorted((one, other) => one.rank - other.rank)
              .slice(0, threshold)
              .map(({ share }) => share);
          const first = combine(dealt.group, encodedMessage, pick());
          expect(toHex(combine(dealt.group, encodedMessage, pick()))).to.equal(toHex(first));
          expect(verifySignature(dealt.group, encodedMessage, first)).to.equal(true);
        },
      ),
      { numRuns },
    );
  });

  it("never makes a signature of k-1 shares and anything else", () => {
    const guess = fc.oneof(
      fc.bigInt({ min: 2n, max: modulus / 2n }),
      fc.constantFrom(...shares.map(({ value }) => value)),
    );
    fc.assert(
      fc.property(guess, (value) => {
        fc.pre(value !== shares[2]?.value);
        const quorum = [...shares.slice(0, 2), { index: 3, value }];
        expectCode(() => combine(group, message, quorum), "ERR_COMBINE_FAILED");
      }),
      { numRuns },
    );
    expect(findQuorum(group, message, shares.slice(0, 2))).to.equal(undefined);
  });

  it("takes exactly k shares of distinct parties of the group", () => {
    const [one, two, three, four] = shares as [
      SignatureShare,
      SignatureShare,
      SignatureShare,
      SignatureShare,
    ];
    const wrong = [[], [one], [one, two], [one, two, three, four], [one, two, two]];
    for (const list of wrong) expect(() => combine(group, message, list)).to.throw(RangeError);
    for (const index of [0, 6, 1.5, NaN]) {
      const list = [one, two, { index, value: three.value }];
      expect(() => combine(group, message, list)).to.throw(RangeError);
    }
  });

  it("fails on a share that has no inverse", () => {
    for (const index of [1, 2, 3]) {
      const list = replaced(shares.slice(0, 3), index, key.p);
      expectCode(() => combine(group, message, list), "ERR_COMBINE_FAILED");
    }
  });

  it("verifies nothing but the signature", () => {
    expect(verifySignature(group, message, signature)).to.equal(true);
    const other = encoded(group, "other");
    const more = numberToBytes(modulus + 5n, length);
    expect(verifySignature(group, other, signature)).to.equal(false);
    for (const bytes of [new Uint8Array(), signature.subarray(1), more, message, other]) {
      expect(verifySignature(group, message, bytes)).to.equal(false);
    }
    expect(verifySignature(group, message, Uint8Array.from([0, ...signature]))).to.equal(false);
    expect(verifySignature(group, Uint8Array.from([0, ...message]), signature)).to.equal(false);
    for (let position = 0; position < length; position++) {
      const changed = mutated(signature, position, 0x80);
      expect(verifySignature(group, message, changed)).to.equal(false);
    }
  });
});

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
    for (const epoch of [-1, 2 ** 32]) {
      expect(() => signer.prove(message, { ...context, epoch })).to.throw(RangeError);
    }
  });
});

describe("errors of the scheme", () => {
  it("carry neither secrets nor messages", () => {
    const secret = (key.shares[0]?.secret ?? 0n).toString(16);
    for (const call of [
      () => parseSignatureShare(group, 1, message.subarray(1)),
      () => combine(group, message, replaced(shares.slice(0, 3), 1, 2n)),
      () => signersOf(key)[0]?.sign(message.subarray(1)),
    ]) {
      expect(call)
        .to.throw(HsmError)
        .with.property("message")
        .that.does.not.match(/[0-9a-f]{16}/u);
      expect(call).to.throw().with.property("message").that.does.not.include(secret);
    }
  });
});
