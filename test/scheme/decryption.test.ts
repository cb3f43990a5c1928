/** @module Blinding and unpadding against OpenSSL, and ciphertexts that want to know more than they may. */
import { expect } from "chai";
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  privateEncrypt,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import {
  blind,
  decodeOaep,
  decodeType2,
  encodeOaep,
  encodeType2,
  type OaepOptions,
  type RsaPublicKey,
} from "../../src/scheme/index.js";
import { expectCode } from "./support.js";

const empty = new Uint8Array(0);
const secret = Buffer.from("known to the holder only");

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString("hex")}`);
}

function bytesOf(value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * length, "0"), "hex");
}

describe("decryption", () => {
  for (const modulusBits of [1024, 2048]) {
    describe(`with ${modulusBits} bits`, () => {
      const pair = generateKeyPairSync("rsa", { modulusLength: modulusBits });
      const pem = pair.privateKey.export({ type: "pkcs8", format: "pem" });
      const privateKey = createPrivateKey(pem);
      const publicKey = createPublicKey(pem);
      const length = modulusBits / 8;
      const modulus = numberOf(
        Buffer.from(publicKey.export({ format: "jwk" }).n ?? "", "base64url"),
      );
      const key: RsaPublicKey = { modulus, modulusLength: length, publicExponent: 65537n };
      const raw = { key: privateKey, padding: constants.RSA_NO_PADDING };

      /** What the nodes and the client do together. */
      const decrypt = (ciphertext: Uint8Array): Uint8Array => {
        const { ciphertext: shown, unblind } = blind(key, ciphertext, randomBytes);
        expect(Buffer.from(shown).equals(ciphertext)).to.equal(false);
        return unblind(privateEncrypt(raw, shown));
      };

      it("takes the blinding off again", () => {
        for (let i = 0; i < 50; i++) {
          const block = Buffer.concat([
            Buffer.alloc(1 + (i % 9)),
            randomBytes(length - 1 - (i % 9)),
          ]);
          const ciphertext = publicEncrypt(
            { key: publicKey, padding: constants.RSA_NO_PADDING },
            block,
          );
          expect(Buffer.from(decrypt(ciphertext)).equals(block)).to.equal(true);
        }
      });

      it("has no answer but for 1 and N-1, which are powers of themselves", () => {
        expect(numberOf(decrypt(bytesOf(1n, length)))).to.equal(1n);
        expect(numberOf(decrypt(bytesOf(modulus - 1n, length)))).to.equal(modulus - 1n);
        const outOfRange = [0n, modulus, modulus + 1n, 256n ** BigInt(length) - 1n];
        for (const value of outOfRange) {
          expectCode(() => decrypt(bytesOf(value, length)), "ERR_DECRYPT_FAILED");
        }
        for (const wrong of [0, 1, length - 1, length + 1]) {
          expectCode(() => decrypt(Buffer.alloc(wrong, 1)), "ERR_DECRYPT_FAILED");
        }
      });

      it("shows another ciphertext each time", () => {
        const ciphertext = bytesOf(12345n, length);
        const shown = new Set(
          Array.from({ length: 20 }, () =>
            Buffer.from(blind(key, ciphertext, randomBytes).ciphertext).toString("hex"),
          ),
        );
        expect(shown.size).to.equal(20);
      });

      for (const hash of ["sha1", "sha256", "sha384"] as const) {
        const most = length - 2 * { sha1: 20, sha256: 32, sha384: 48 }[hash] - 2;
        it(`opens what OpenSSL encrypts with OAEP and ${hash}, and the other way round`, () => {
          for (const label of [empty, Buffer.from("label")]) {
            const options: OaepOptions = { hash, maskHash: hash, label };
            for (const size of [0, 1, most]) {
              const message = randomBytes(size);
              const openssl = {
                padding: constants.RSA_PKCS1_OAEP_PADDING,
                oaepHash: hash,
                oaepLabel: label,
              };
              const ciphertext = publicEncrypt({ key: publicKey, ...openssl }, message);
              expect(decodeOaep(decrypt(ciphertext), options)).to.deep.equal(
                Uint8Array.from(message),
              );
              const block = encodeOaep(length, options, message, randomBytes);
              const ours = publicEncrypt(
                { key: publicKey, padding: constants.RSA_NO_PADDING },
                block,
              );
              expect(
                privateDecrypt({ key: privateKey, ...openssl }, ours).equals(message),
              ).to.equal(true);
            }
          }
        });
      }

      it("opens what OpenSSL encrypts with PKCS #1 v1.5, and the other way round", () => {
        for (const size of [0, 1, 48, length - 11]) {
          const message = randomBytes(size);
          const padding = constants.RSA_PKCS1_PADDING;
          const ciphertext = publicEncrypt({ key: publicKey, padding }, message);
          const block = decrypt(ciphertext);
          expect(decodeType2(block, secret, ciphertext)).to.deep.equal(Uint8Array.from(message));
          expect(
            decodeType2(encodeType2(length, message, randomBytes), secret, ciphertext),
          ).to.deep.equal(Uint8Array.from(message));
        }
        expectCode(
          () => encodeType2(length, randomBytes(length - 10), randomBytes),
          "ERR_INVALID_ARGUMENT",
        );
      });
    });
  }

  describe("of blocks that are no padding", () => {
    const options: OaepOptions = { hash: "sha256", maskHash: "sha1", label: empty };

    it("takes OAEP with another hash for the mask", () => {
      const message = randomBytes(20);
      expect(decodeOaep(encodeOaep(256, options, message, randomBytes), options)).to.deep.equal(
        Uint8Array.from(message),
      );
    });

    it("says nothing but no to any OAEP block with one bit wrong", () => {
      const block = encodeOaep(128, options, Buffer.from("message"), randomBytes);
      for (let bit = 0; bit < 1024; bit++) {
        const wrong = Uint8Array.from(block);
        wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(decodeOaep(wrong, options), `bit ${bit}`).to.equal(undefined);
      }
      expect(decodeOaep(block, { ...options, label: Buffer.from("other") })).to.equal(undefined);
      expect(decodeOaep(new Uint8Array(128), options)).to.equal(undefined);
      expect(decodeOaep(new Uint8Array(50), options)).to.equal(undefined);
    });

    const hostile: Record<string, (block: Uint8Array) => void> = {
      "another first byte": (block) => (block[0] = 1),
      "another type": (block) => (block[1] = 1),
      "no zero at all": (block) => block.fill(7, 2),
      "a zero right behind the type": (block) => (block[2] = 0),
      "a zero after seven bytes": (block) => (block[9] = 0),
      "zeros only": (block) => block.fill(0),
    };
    for (const [name, spoil] of Object.entries(hostile)) {
      it(`answers ${name} with a message that nobody can tell from one`, () => {
        const ciphertext = randomBytes(128);
        const block = encodeType2(128, Buffer.from("message"), randomBytes);
        spoil(block);
        const answer = decodeType2(block, secret, ciphertext);
        expect(answer.length).to.be.at.most(117);
        expect(Buffer.from(answer).toString()).to.not.equal("message");
        // The same for the same ciphertext, whatever the block; another for any other.
        const zeros = decodeType2(new Uint8Array(128), secret, ciphertext);
        expect(answer).to.deep.equal(zeros);
        const lengths = new Set<number>();
        for (let i = 0; i < 200; i++)
          lengths.add(decodeType2(block, secret, randomBytes(128)).length);
        expect(lengths.size).to.be.above(50);
        const other = decodeType2(block, Buffer.from("another holder"), ciphertext);
        expect(Buffer.from(other).equals(answer)).to.equal(false);
      });
    }

    it("takes eight bytes of padding, and no less", () => {
      const block = new Uint8Array(128).fill(9);
      block.set([0, 2]);
      block[10] = 0;
      expect(decodeType2(block, secret, empty)).to.deep.equal(block.slice(11));
    });
  });
});
