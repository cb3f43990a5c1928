import { expect } from "chai";
import * as fc from "fast-check";
import { constants, createHash, createPublicKey, publicEncrypt, sign, verify } from "node:crypto";
import { digestInfo, hashes } from "../../src/scheme/digest-info.js";
import {
  combine,
  encodeMessage,
  type EncodingInput,
  type Hash,
  parseDigestInfo,
  verifySignature,
} from "../../src/scheme/index.js";
import { privateKeyOf, testKey } from "../support/keys.js";
import { allShares, expectCode, fromHex, numRuns, toHex, vectors } from "./support.js";

interface EmsaVector {
  readonly encoding: EncodingInput["encoding"];
  readonly modulusBits: number;
  readonly hash?: Hash;
  readonly data: string;
  readonly salt?: string;
  readonly encodedMessage: string;
}

interface DigestInfoVectors {
  readonly valid: readonly { name: string; hash: Hash; digest: string; bytes: string }[];
  readonly invalid: readonly { name: string; bytes: string }[];
}

const names = Object.keys(hashes) as Hash[];
const digestOf = (hash: Hash): Uint8Array => createHash(hash).update("zone").digest();

describe("RFC 8017 section 9: encodings", () => {
  for (const vector of vectors("emsa.json") as EmsaVector[]) {
    const { encoding, modulusBits, hash, data, salt, encodedMessage } = vector;
    const facts = [hash, `${data.length / 2} bytes`, salt && `salt of ${salt.length / 2}`];
    it(`${encoding}, ${modulusBits} bits, ${facts.filter(Boolean).join(", ")}`, () => {
      const input = {
        encoding,
        data: fromHex(data),
        ...(hash === undefined ? {} : { hash }),
        ...(salt === undefined ? {} : { salt: fromHex(salt) }),
      };
      expect(toHex(encodeMessage({ modulusBits }, input))).to.equal(encodedMessage);
    });
  }

  for (const modulusBits of [1024, 2048]) {
    const key = testKey(modulusBits);
    const { group } = key;
    const privateKey = privateKeyOf(key);
    const publicKey = createPublicKey(privateKey);
    for (const hash of names) {
      it(`gives the signature that OpenSSL gives: pkcs1v15, ${hash}, ${modulusBits} bits`, () => {
        const data = digestOf(hash);
        const encodedMessage = encodeMessage(group, { encoding: "pkcs1v15", hash, data });
        const shares = allShares(key, encodedMessage).slice(1);
        const signature = combine(group, encodedMessage, shares);
        expect(toHex(signature)).to.equal(toHex(sign(hash, Buffer.from("zone"), privateKey)));
      });

      it(`gives a signature that OpenSSL verifies: pss, ${hash}, ${modulusBits} bits`, () => {
        const data = digestOf(hash);
        const most = Math.min(data.length, modulusBits / 8 - data.length - 2);
        for (const saltLength of [0, 1, most]) {
          const salt = new Uint8Array(saltLength).fill(7);
          const encodedMessage = encodeMessage(group, { encoding: "pss", hash, data, salt });
          const signature = combine(group, encodedMessage, allShares(key, encodedMessage).slice(1));
          const options = {
            key: publicKey,
            padding: constants.RSA_PKCS1_PSS_PADDING,
            saltLength,
          };
          expect(verify(hash, Buffer.from("zone"), options, signature)).to.equal(true);
          expect(verifySignature(group, encodedMessage, signature)).to.equal(true);
        }
      });
    }

    it(`pads an opaque payload as OpenSSL does, ${modulusBits} bits`, () => {
      const data = digestInfo("sha256", digestOf("sha256"));
      const input = { encoding: "pkcs1v15-opaque", data } as const;
      const theirs = publicEncrypt(
        { key: publicKey, padding: constants.RSA_NO_PADDING },
        sign("sha256", Buffer.from("zone"), privateKey),
      );
      expect(toHex(encodeMessage(group, input))).to.equal(toHex(theirs));
    });
  }

  it("takes a raw block as it is, and copies it", () => {
    const data = new Uint8Array(128).fill(3);
    const encodedMessage = encodeMessage({ modulusBits: 1024 }, { encoding: "raw", data });
    expect(encodedMessage).to.deep.equal(data);
    expect(encodedMessage).to.not.equal(data);
  });

  const data = digestOf("sha256");
  const salt = new Uint8Array(32);
  const refused: [string, object, "ERR_UNSUPPORTED_MECHANISM" | "ERR_INVALID_ARGUMENT"][] = [
    ["an unknown encoding", { encoding: "oaep", data }, "ERR_UNSUPPORTED_MECHANISM"],
    ["no encoding", { data }, "ERR_UNSUPPORTED_MECHANISM"],
    ["an unknown hash", { encoding: "pkcs1v15", hash: "md5", data }, "ERR_UNSUPPORTED_MECHANISM"],
    [
      "a hash named like a method",
      { encoding: "pkcs1v15", hash: "constructor", data },
      "ERR_UNSUPPORTED_MECHANISM",
    ],
    ["no hash", { encoding: "pkcs1v15", data }, "ERR_UNSUPPORTED_MECHANISM"],
    ["no hash for pss", { encoding: "pss", data, salt }, "ERR_UNSUPPORTED_MECHANISM"],
    ["no salt for pss", { encoding: "pss", hash: "sha256", data }, "ERR_INVALID_ARGUMENT"],
    [
      "a salt for pkcs1v15",
      { encoding: "pkcs1v15", hash: "sha256", data, salt },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a salt for raw",
      { encoding: "raw", data: new Uint8Array(128), salt },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a hash for raw",
      { encoding: "raw", hash: "sha1", data: new Uint8Array(128) },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a hash for opaque",
      { encoding: "pkcs1v15-opaque", hash: "sha1", data },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a digest of another length",
      { encoding: "pkcs1v15", hash: "sha1", data },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "an empty digest",
      { encoding: "pkcs1v15", hash: "sha1", data: new Uint8Array() },
      "ERR_INVALID_ARGUMENT",
    ],
    [
      "a payload one byte too long",
      { encoding: "pkcs1v15-opaque", data: new Uint8Array(118) },
      "ERR_INVALID_ARGUMENT",
    ],
    ["a short raw block", { encoding: "raw", data: new Uint8Array(127) }, "ERR_INVALID_ARGUMENT"],
    ["a long raw block", { encoding: "raw", data: new Uint8Array(129) }, "ERR_INVALID_ARGUMENT"],
    [
      "a salt one byte too long",
      { encoding: "pss", hash: "sha512", data: digestOf("sha512"), salt: new Uint8Array(63) },
      "ERR_INVALID_ARGUMENT",
    ],
  ];
  for (const [name, input, code] of refused) {
    it(`refuses ${name}`, () => {
      expectCode(() => encodeMessage({ modulusBits: 1024 }, input as EncodingInput), code);
    });
  }
});

describe("RFC 8017 section 9.2: DigestInfo", () => {
  const { valid, invalid } = vectors("digest-info.json") as DigestInfoVectors;

  for (const { name, hash, digest, bytes } of valid) {
    it(`reads ${name}`, () => {
      const parsed = parseDigestInfo(fromHex(bytes));
      expect(parsed?.hash).to.equal(hash);
      expect(toHex(parsed?.digest ?? new Uint8Array())).to.equal(digest);
    });
  }

  for (const { name, bytes } of invalid) {
    it(`refuses ${name}`, () => {
      expect(parseDigestInfo(fromHex(bytes))).to.equal(undefined);
    });
  }

  it("refuses every change of a byte in front of the digest", () => {
    for (const hash of names) {
      const bytes = digestInfo(hash, digestOf(hash));
      for (let position = 0; position < bytes.length - hashes[hash].length; position++) {
        for (let mask = 1; mask < 256; mask++) {
          const changed = Uint8Array.from(bytes);
          changed[position] = (changed[position] ?? 0) ^ mask;
          expect(parseDigestInfo(changed)).to.equal(undefined);
        }
      }
    }
  });

  it("never crashes on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => {
        expect(parseDigestInfo(garbage)).to.equal(undefined);
      }),
      { numRuns },
    );
  });
});
