import { expect } from "chai";
import * as fc from "fast-check";
import type { Answer } from "../../src/client/collector.js";
import { QuorumTracker } from "../../src/client/quorum-tracker.js";
import { toBase64url } from "../../src/identity/encoding.js";
import { encodeMessage, ShareSigner, verifySignature } from "../../src/scheme/index.js";
import type { SignedMessage } from "../../src/streams/envelope.js";
import type { ShareMessage } from "../../src/streams/shares.js";
import { dealt } from "./scripted-node.js";

const { group } = dealt;
const numRuns = process.env["SLOW"] === "1" ? 500 : 20;
const encoded = [1, 2].map((n) =>
  encodeMessage(group, { encoding: "pkcs1v15", hash: "sha256", data: new Uint8Array(32).fill(n) }),
);
const right = dealt.shares.map((share) => {
  const signer = new ShareSigner(group, share);
  return encoded.map((one) => signer.sign(one));
});

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
function toBytes(value: bigint): Uint8Array {
  const small = 2n * value < group.modulus ? value : group.modulus - value;
  return Buffer.from(small.toString(16).padStart(2 * group.modulusLength, "0"), "hex");
}
function power(base: bigint, exponent: number): bigint {
  if (exponent < 0) return power(inverse(base), -exponent);
  let result = 1n;
  for (let i = 0; i < exponent; i++) result = (result * base) % group.modulus;
  return result;
}
function inverse(value: bigint): bigint {
  let [a, b, x, y] = [value % group.modulus, group.modulus, 1n, 0n];
  while (b !== 0n) [a, b, x, y] = [b, a % b, y, x - (a / b) * y];
  return ((x % group.modulus) + group.modulus) % group.modulus;
}

function answer(shares: readonly Uint8Array[], hash = "e".repeat(64)): Answer {
  const body = { shares: shares.map(toBase64url) } as unknown as ShareMessage;
  return { body, hash, message: undefined as unknown as SignedMessage };
}
const rightAnswer = (party: number): Answer => answer(right[party - 1] ?? []);
function spoilt(party: number, inputs: readonly number[] = [0, 1], by = 3n): Answer {
  const shares = right[party - 1] ?? [];
  return answer(
    shares.map((share, i) =>
      inputs.includes(i) ? toBytes((toNumber(share) * by) % group.modulus) : share,
    ),
  );
}
const accused = (tracker: QuorumTracker): number[] =>
  tracker.accusations.map(({ party }) => party).toSorted((a, b) => a - b);

describe("the quorum tracker", () => {
  it("finds the signatures among any answers with three right ones, and blames no honest party", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray([1, 2, 3, 4, 5], { minLength: 5 }),
        fc.subarray([1, 2, 3, 4, 5], { maxLength: 2 }),
        fc.array(fc.constantFrom([0], [1], [0, 1]), { minLength: 2, maxLength: 2 }),
        (order, liars, inputs) => {
          const tracker = new QuorumTracker(group, encoded);
          let combined;
          for (const party of order) {
            const lie = liars.indexOf(party);
            const by = BigInt(3 + 2 * lie);
            tracker.add(party, lie < 0 ? rightAnswer(party) : spoilt(party, inputs[lie], by));
            combined = tracker.tryCombine() ?? combined;
          }
          expect(combined?.signatures).to.have.lengthOf(2);
          for (const [i, one] of encoded.entries()) {
            expect(verifySignature(group, one, combined?.signatures[i] ?? one)).to.equal(true);
          }
          expect(liars).to.include.members(accused(tracker));
        },
      ),
      { numRuns },
    );
  });

  it("names one liar exactly once all have answered", () => {
    for (const liar of [1, 2, 3, 4, 5]) {
      const tracker = new QuorumTracker(group, encoded);
      for (const party of [liar, 1, 2, 3, 4, 5]) {
        tracker.add(party, party === liar ? spoilt(party) : rightAnswer(party));
      }
      expect(tracker.tryCombine()?.quorum).to.not.include(liar);
      expect(accused(tracker)).to.deep.equal([liar]);
      expect(tracker.accusations[0]?.hash).to.equal("e".repeat(64));
    }
  });

  it("signs although two colluders make their errors cancel, in another quorum for each input", () => {
    // For the quorum {1, 2, 3} Lagrange's coefficients of 1 and 2 are 3 and -3, for {1, 2, 4}
    // they are 8/3 and -2: errors g^a, g^b with 3a = 3b, and 8a = 6b, cancel.
    const g = 9n;
    const error = (party: 1 | 2, exponents: readonly [number, number]): Answer =>
      answer(
        (right[party - 1] ?? []).map((share, i) =>
          toBytes((toNumber(share) * power(g, exponents[i] ?? 0)) % group.modulus),
        ),
      );
    const tracker = new QuorumTracker(group, encoded);
    tracker.add(1, error(1, [1, 3]));
    tracker.add(2, error(2, [1, 4]));
    tracker.add(3, rightAnswer(3));
    tracker.add(4, rightAnswer(4));
    tracker.tryCombine();
    tracker.add(5, rightAnswer(5));
    expect(tracker.tryCombine()?.quorum).to.deep.equal([3, 4, 5]);
    expect([3, 4, 5]).to.not.include.members([...accused(tracker), 0]);
  });

  it("counts a party once, with its first answer", () => {
    const tracker = new QuorumTracker(group, encoded);
    for (const _ of [1, 2, 3]) tracker.add(1, rightAnswer(1));
    tracker.add(1, spoilt(1));
    expect(tracker.contributors).to.equal(1);
    expect(tracker.tryCombine()).to.equal(undefined);
    expect(tracker.accusations).to.deep.equal([]);
  });

  it("accuses at once for a share out of range, for too few and for too many", () => {
    const { modulus, modulusLength } = group;
    const number = (value: bigint): Uint8Array =>
      Buffer.from(value.toString(16).padStart(2 * modulusLength, "0"), "hex");
    const [good = new Uint8Array()] = right[0] ?? [];
    const lies: (readonly Uint8Array[])[] = [
      ...[0n, 1n, modulus, modulus - 1n, modulus - toNumber(good)].map((value) => [
        number(value),
        good,
      ]),
      [],
      [good],
      [good, good, good],
      [new Uint8Array(), good],
    ];
    for (const lie of lies) {
      const tracker = new QuorumTracker(group, encoded);
      tracker.add(1, answer(lie));
      expect(accused(tracker)).to.deep.equal([1]);
      expect(tracker.contributors).to.equal(0);
    }
  });
});
