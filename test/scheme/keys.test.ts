import { expect } from "chai";
import fc from "fast-check";
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import {
  dealKey,
  type GroupKeyBytes,
  groupKeyBytes,
  parseGroupKey,
  parseKeyShare,
  serializeKeyShare,
  verifyKeyShare,
} from "../../src/scheme/index.js";
import { bytesToNumber, numberToBytes } from "../../src/scheme/bytes.js";
import { verificationKey } from "../../src/scheme/group-key.js";
import { KeyShare } from "../../src/scheme/key-share.js";
import { testKey, testPrimes } from "../support/keys.js";
import { expectCode, mutated, numRuns } from "./support.js";

const key = testKey(1024, 5, 3);
const { group, shares, p, q } = key;
const order = ((p - 1n) / 2n) * ((q - 1n) / 2n);

describe("scheme/dealer", () => {
  it("deals shares that fit the public record", () => {
    expect(shares.map(({ index }) => index)).to.deep.equal([1, 2, 3, 4, 5]);
    expect(shares.every((share) => verifyKeyShare(group, share))).to.equal(true);
    expect(parseGroupKey(groupKeyBytes(group))).to.deep.equal(group);
  });

  it("deals a modulus of exactly the size asked for", () => {
    for (const bits of [1024, 2048]) {
      const dealt = testKey(bits).group;
      expect(dealt.modulus.toString(2)).to.have.length(bits);
      expect([dealt.modulusBits, dealt.modulusLength]).to.deep.equal([bits, bits / 8]);
    }
  });

  it("never deals the same shares twice", () => {
    const again = dealKey({ p, q, parties: 5, threshold: 3 });
    expect(again.group.modulus).to.equal(group.modulus);
    for (const [i, share] of again.shares.entries()) {
      expect(share.secret).to.not.equal(shares[i]?.secret);
    }
  });

  it("lets a single party hold the whole key when asked to", () => {
    const { group: alone, shares: whole } = dealKey({ p, q, parties: 1, threshold: 1 });
    expect(((whole[0]?.secret ?? 0n) * alone.publicExponent) % order).to.equal(1n);
  });

  it("refuses primes that make no key", () => {
    const big = testPrimes(2048);
    const deal = (one: bigint, other: bigint) => () =>
      dealKey({ p: one, q: other, parties: 3, threshold: 2 });
    expect(deal(p, p)).to.throw(RangeError, "close");
    expect(deal(p, p + 2n)).to.throw(RangeError, "close");
    expect(deal(p, q + 2n)).to.throw(RangeError, "safe");
    expect(deal(p + 2n, q)).to.throw(RangeError, "safe");
    expect(deal(p, big.q)).to.throw(RangeError, "size");
    expect(deal(p >> 1n, q)).to.throw(RangeError, "size");
    expect(deal(-p, -q)).to.throw(RangeError, "size");
    expect(deal(0n, 0n)).to.throw(RangeError, "size");
  });

  it("refuses thresholds without a majority and too many parties", () => {
    for (const [threshold, parties] of [
      [1, 2],
      [2, 4],
      [0, 0],
      [4, 3],
      [17, 33],
      [1.5, 2],
      [NaN, 3],
      [2, NaN],
      [Infinity, Infinity],
      [-1, -1],
    ] as const) {
      expect(() => dealKey({ p, q, parties, threshold })).to.throw(RangeError, "n/2");
    }
  });
});

describe("scheme/group-key", () => {
  const good = groupKeyBytes(group);
  const length = group.modulusLength;
  const factor = numberToBytes(p, length);
  const small = numberToBytes(1n, length);
  const zero = new Uint8Array(length);
  const hostile: Record<string, Partial<GroupKeyBytes>> = {
    "modulus of odd size": { modulus: good.modulus.subarray(1) },
    "empty modulus": { modulus: new Uint8Array() },
    "oversized modulus": { modulus: new Uint8Array(1 << 16).fill(255) },
    "modulus with a leading zero": { modulus: numberToBytes(group.modulus >> 8n, length) },
    "modulus one bit short": { modulus: numberToBytes(group.modulus >> 1n, length) },
    "even modulus": { modulus: numberToBytes(group.modulus + 1n, length) },
    "modulus that no safe primes have": { modulus: numberToBytes(group.modulus + 2n, length) },
    "another exponent": { publicExponent: Uint8Array.of(3) },
    "exponent with a leading zero": { publicExponent: Uint8Array.of(0, 1, 0, 1) },
    "no exponent": { publicExponent: new Uint8Array() },
    "threshold 0": { threshold: 0 },
    "threshold without a majority": { threshold: 2 },
    "threshold above the parties": { threshold: 6 },
    "threshold 3.5": { threshold: 3.5 },
    "threshold NaN": { threshold: NaN },
    "6 parties with 5 keys": { parties: 6, threshold: 4 },
    "4 parties with 5 keys": { parties: 4 },
    "33 parties": {
      parties: 33,
      threshold: 17,
      verificationKeys: Array.from({ length: 33 }, () => good.verificationBase),
    },
    "no verification keys": { verificationKeys: [] },
    "verification base 0": { verificationBase: zero },
    "verification base 1": { verificationBase: small },
    "verification base N": { verificationBase: good.modulus },
    "verification base beyond N": { verificationBase: new Uint8Array(length).fill(255) },
    "short verification base": { verificationBase: good.verificationBase.subarray(1) },
    "verification base shares a factor": { verificationBase: factor },
    "verification key shares a factor": {
      verificationKeys: good.verificationKeys.with(4, factor),
    },
    "verification key 0": { verificationKeys: good.verificationKeys.with(0, zero) },
    "oversized verification key": {
      verificationKeys: good.verificationKeys.with(0, new Uint8Array(length + 1).fill(1)),
    },
  };

  it("accepts its own bytes", () => {
    expect(groupKeyBytes(parseGroupKey(good))).to.deep.equal(good);
  });

  for (const [name, change] of Object.entries(hostile)) {
    it(`refuses: ${name}`, () => {
      expectCode(() => parseGroupKey({ ...good, ...change }), "ERR_INVALID_MESSAGE");
    });
  }

  it("cannot be changed afterwards", () => {
    expect(Object.isFrozen(group) && Object.isFrozen(group.verificationKeys)).to.equal(true);
    const parsed = parseGroupKey(good);
    expect(Object.isFrozen(parsed) && Object.isFrozen(parsed.verificationKeys)).to.equal(true);
  });

  it("has no verification key for a party that is not there", () => {
    for (const index of [0, 6, 1.5, NaN]) {
      expect(() => verificationKey(group, index)).to.throw(RangeError);
    }
  });
});

describe("scheme/key-share", () => {
  const [share] = shares as readonly [KeyShare];
  const bytes = serializeKeyShare(share, group);
  const copy = (): KeyShare => parseKeyShare(bytes, group);

  it("comes back from its bytes", () => {
    for (const each of shares) {
      const serialized = serializeKeyShare(each, group);
      const parsed = parseKeyShare(serialized, group);
      expect([parsed.index, parsed.secret]).to.deep.equal([each.index, each.secret]);
      expect(serializeKeyShare(parsed, group)).to.deep.equal(serialized);
    }
  });

  it("is refused after a change of any byte, by its ranges or by the verification key", () => {
    const accepted = Array.from(bytes.keys()).filter((position) => {
      try {
        return verifyKeyShare(group, parseKeyShare(mutated(bytes, position, 0x01), group));
      } catch (error) {
        expect(error).to.have.property("code", "ERR_INVALID_KEY_SHARE");
        return false;
      }
    });
    expect(accepted).to.deep.equal([]);
  });

  it("is refused when it is cut, extended, or of another group", () => {
    for (const length of [0, 1, 4, 7, 8, bytes.length - 1]) {
      expectCode(() => parseKeyShare(bytes.subarray(0, length), group), "ERR_INVALID_KEY_SHARE");
    }
    const longer = Uint8Array.from([...bytes, 0]);
    expectCode(() => parseKeyShare(longer, group), "ERR_INVALID_KEY_SHARE");
    expectCode(() => parseKeyShare(bytes, testKey(2048).group), "ERR_INVALID_KEY_SHARE");
    const other = serializeKeyShare(shares[4] as KeyShare, group);
    expectCode(() => parseKeyShare(other, testKey(1024).group), "ERR_INVALID_KEY_SHARE");
  });

  it("is refused outside 0 < s_i < N/4", () => {
    const withSecret = (secret: bigint): Uint8Array =>
      serializeKeyShare(new KeyShare(1, numberToBytes(secret, 128)), group);
    for (const secret of [0n, group.modulus / 4n + 1n, group.modulus, 2n ** 1024n - 1n]) {
      expectCode(() => parseKeyShare(withSecret(secret), group), "ERR_INVALID_KEY_SHARE");
    }
    expect(parseKeyShare(withSecret(group.modulus / 4n), group).index).to.equal(1);
  });

  it("never crashes on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
        expectCode(() => parseKeyShare(garbage, group), "ERR_INVALID_KEY_SHARE");
      }),
      { numRuns },
    );
  });

  it("does not verify for another party, or a party that is not there", () => {
    const secret = (): Uint8Array => numberToBytes(share.secret, 128);
    for (const index of [0, 2, 6, 1.5, NaN]) {
      expect(verifyKeyShare(group, new KeyShare(index, secret()))).to.equal(false);
    }
  });

  it("does not verify when it is off by one", () => {
    const off = new KeyShare(1, numberToBytes(share.secret + 1n, 128));
    expect(verifyKeyShare(group, off)).to.equal(false);
  });

  it("shows its secret nowhere", () => {
    const secret = share.secret;
    const shown = [
      JSON.stringify({ share }),
      String(share),
      `${share.toString()}`,
      inspect({ deep: { share } }, { depth: 9, showHidden: true, getters: true }),
      inspect(structuredClone({ share })),
      Object.values(share).join(),
    ].join("\n");
    expect(shown).to.include("[redacted]");
    for (const form of [secret.toString(), secret.toString(16)]) expect(shown).to.not.include(form);
  });

  it("is overwritten by erase, in the caller's memory too", () => {
    const memory = Uint8Array.from(randomBytes(128));
    const erased = new KeyShare(1, memory);
    erased.erase();
    expect(bytesToNumber(memory)).to.equal(0n);
    expectCode(() => erased.secret, "ERR_KEY_NOT_ACTIVE");
    expectCode(() => serializeKeyShare(erased, group), "ERR_KEY_NOT_ACTIVE");
  });

  it("has a copy of the bytes it was parsed from", () => {
    const parsed = copy();
    parsed.erase();
    expect(copy().secret).to.equal(share.secret);
  });
});
