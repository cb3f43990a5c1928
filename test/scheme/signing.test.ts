import { expect } from "chai";
import * as fc from "fast-check";
import { HsmError, InvalidSignatureShareError } from "../../src/errors.js";
import { numberToBytes } from "../../src/scheme/bytes.js";
import {
  combine,
  combineAll,
  findQuorum,
  parseKeyShare,
  parseSignatureShare,
  serializeKeyShare,
  ShareSigner,
  type SignatureShare,
  verifyShareProof,
  verifySignature,
} from "../../src/scheme/index.js";
import { KeyShare } from "../../src/scheme/key-share.js";
import { testKey } from "../support/keys.js";
import {
  choices,
  context,
  group,
  key,
  length,
  message,
  modulus,
  replaced,
  shares,
  signature,
} from "./fixture.js";
import { allShares, encoded, expectCode, mutated, numRuns, signersOf, toHex } from "./support.js";

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

  it("that has a factor in common with N makes no signature, and its party is named", () => {
    for (const value of [key.p, 3n * key.q]) {
      const spoiled = parseSignatureShare(group, 1, numberToBytes(value, length));
      const quorum = [spoiled, ...shares.slice(1, 3)];
      expectCode(() => combine(group, message, quorum), "ERR_COMBINE_FAILED");
      const found = findQuorum(group, message, [spoiled, ...shares.slice(1)]);
      expect(found?.culprits).to.deep.equal([1]);
      const proof = signersOf(key)[0]?.prove(message, context) ?? new Uint8Array();
      expect(verifyShareProof(group, message, spoiled, proof, context)).to.equal(false);
    }
  });

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

  it("makes of several messages what it makes of each, also beside one that fails", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.boolean()), { maxLength: 5 }), (wishes) => {
        const messages = wishes.map(([text]) => encoded(group, text));
        const given = wishes.map(([, isRight], i) => {
          const all = allShares(key, messages[i] ?? message);
          return isRight ? all.slice(0, 3) : replaced(all.slice(0, 3), 1, i % 2 ? key.p : 4n);
        });
        const made = combineAll(group, messages, given);
        for (const [i, [, isRight]] of wishes.entries()) {
          const one = isRight ? combine(group, messages[i] ?? message, given[i] ?? []) : undefined;
          expect(made[i]).to.deep.equal(one);
        }
        expect(made).to.have.length(wishes.length);
      }),
      { numRuns },
    );
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
