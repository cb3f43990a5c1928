import { expect } from "chai";
import {
  combine,
  dealKey,
  encodeMessage,
  findQuorum,
  parseGroupKey,
  parseKeyShare,
  parseSignatureShare,
  type RandomSource,
  serializeKeyShare,
  ShareSigner,
  verifyKeyShare,
  verifyShareProof,
  verifySignature,
} from "../../src/scheme/index.js";
import { testPrimes } from "../support/keys.js";
import { fromHex, toHex, vectors } from "./support.js";

/** Written by test/vectors/generate.py, a second implementation. Numbers and bytes in hex. */
interface ShoupVector {
  readonly name: string;
  readonly modulusBits: number;
  readonly parties: number;
  readonly threshold: number;
  readonly coefficients: readonly string[];
  readonly verificationRoot: string;
  readonly verificationBase: string;
  readonly verificationKeys: readonly string[];
  readonly keyShares: readonly string[];
  readonly digest: string;
  readonly encodedMessage: string;
  readonly signatureShares: readonly string[];
  readonly proof: {
    readonly index: number;
    readonly keyId: string;
    readonly epoch: number;
    readonly nonce: string;
    readonly bytes: string;
  };
  readonly signature: string;
}

/** Randomness that gives these numbers in turn, at whatever length is asked for. */
function replay(numbers: readonly string[]): RandomSource {
  const left = [...numbers];
  return (length) => fromHex((left.shift() ?? "").padStart(2 * length, "0"));
}

describe("Shoup 2000, against a second implementation", () => {
  for (const vector of vectors("shoup.json") as ShoupVector[]) {
    const { modulusBits, parties, threshold, proof } = vector;
    const group = parseGroupKey({
      modulus: (({ p, q }) => fromHex((p * q).toString(16)))(testPrimes(modulusBits)),
      publicExponent: Uint8Array.of(1, 0, 1),
      threshold,
      parties,
      verificationBase: fromHex(vector.verificationBase),
      verificationKeys: vector.verificationKeys.map(fromHex),
    });
    const keyShares = vector.keyShares.map((bytes) => parseKeyShare(fromHex(bytes), group));
    const encodedMessage = encodeMessage(group, {
      encoding: "pkcs1v15",
      hash: "sha256",
      data: fromHex(vector.digest),
    });
    const shares = vector.signatureShares.map((bytes, i) =>
      parseSignatureShare(group, i + 1, fromHex(bytes)),
    );

    describe(vector.name, () => {
      it("deals the same key from the same coefficients", () => {
        const random = replay([...vector.coefficients, vector.verificationRoot]);
        const dealt = dealKey({ ...testPrimes(modulusBits), parties, threshold, random });
        expect(dealt.group).to.deep.equal(group);
        const bytes = dealt.shares.map((share) => toHex(serializeKeyShare(share, dealt.group)));
        expect(bytes).to.deep.equal(vector.keyShares);
      });

      it("reads key shares that fit", () => {
        expect(keyShares.every((share) => verifyKeyShare(group, share))).to.equal(true);
      });

      it("encodes and signs the same", () => {
        expect(toHex(encodedMessage)).to.equal(vector.encodedMessage);
        const values = keyShares.map((share) =>
          toHex(new ShareSigner(group, share).sign(encodedMessage)),
        );
        expect(values).to.deep.equal(vector.signatureShares);
      });

      it("proves the same with the same nonce, and verifies it", () => {
        const keyShare = keyShares[proof.index - 1];
        const share = shares[proof.index - 1];
        if (keyShare === undefined || share === undefined) throw new RangeError("no such party");
        const random = replay([proof.nonce]);
        const bytes = new ShareSigner(group, keyShare).prove(encodedMessage, proof, random);
        expect(toHex(bytes)).to.equal(proof.bytes);
        expect(verifyShareProof(group, encodedMessage, share, bytes, proof)).to.equal(true);
      });

      it("combines to the signature of the undivided key", () => {
        const first = combine(group, encodedMessage, shares.slice(0, threshold));
        const last = combine(group, encodedMessage, shares.slice(-threshold));
        expect(toHex(first)).to.equal(vector.signature);
        expect(toHex(last)).to.equal(vector.signature);
        expect(verifySignature(group, encodedMessage, first)).to.equal(true);
        const found = findQuorum(group, encodedMessage, shares);
        expect(found?.culprits).to.deep.equal([]);
        expect(found?.suspects).to.deep.equal([]);
      });
    });
  }
});
