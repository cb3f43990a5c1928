import { createHash, randomBytes, sign, constants } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { verifySignature, type Encoding, type Hash } from "../../src/client/index.js";
import { privateKeyOf, testKey } from "../support/keys.js";

describe("verifying by the public key alone", () => {
  const key = testKey(1024);
  const privateKey = privateKeyOf(key);
  const jwk = privateKey.export({ format: "jwk" });
  const publicKey = {
    modulus: Buffer.from(jwk.n ?? "", "base64url"),
    modulusBits: 1024,
    publicExponent: Buffer.from(jwk.e ?? "", "base64url"),
  };
  const text = Buffer.from("what was signed");
  const inputOf = (
    encoding: Exclude<Encoding, "decrypt">,
    hash: Hash,
    saltLength?: number,
  ): Parameters<typeof verifySignature>[1] => ({
    encoding,
    hash,
    data: createHash(hash).update(text).digest(),
    ...(saltLength === undefined ? {} : { saltLength }),
  });

  for (const hash of ["sha1", "sha256", "sha384"] as const) {
    it(`agrees with OpenSSL on PKCS #1 v1.5 with ${hash}`, () => {
      const signature = sign(hash, text, privateKey);
      expect(verifySignature(publicKey, inputOf("pkcs1v15", hash), signature)).to.equal(true);
      expect(verifySignature(publicKey, inputOf("pss", hash), signature)).to.equal(false);
    });

    for (const saltLength of [0, 8, createHash(hash).digest().length]) {
      it(`agrees with OpenSSL on PSS with ${hash} and ${saltLength} bytes of salt`, () => {
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        const signature = sign(hash, text, { key: privateKey, padding, saltLength });
        expect(verifySignature(publicKey, inputOf("pss", hash), signature)).to.equal(true);
        expect(verifySignature(publicKey, inputOf("pss", hash, saltLength), signature)).to.equal(
          true,
        );
        expect(
          verifySignature(publicKey, inputOf("pss", hash, saltLength + 1), signature),
        ).to.equal(false);
        expect(verifySignature(publicKey, inputOf("pkcs1v15", hash), signature)).to.equal(false);
      });
    }
  }

  it("refuses whatever is not the signature", () => {
    const signature = sign("sha256", text, privateKey);
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(127).map((at) => signature.map((byte, i) => (i === at ? byte ^ 1 : byte))),
      fc.constantFrom(publicKey.modulus, new Uint8Array(128), new Uint8Array(128).fill(255)),
    );
    fc.assert(
      fc.property(hostile, fc.constantFrom("pkcs1v15", "pss"), (bytes, encoding) => {
        expect(verifySignature(publicKey, inputOf(encoding, "sha256"), bytes)).to.equal(false);
      }),
    );
  });

  it("refuses random numbers, which open to random encoded messages", () => {
    for (let i = 0; i < 50; i++) {
      const signature = randomBytes(128).with(0, 0);
      expect(verifySignature(publicKey, inputOf("pss", "sha256"), signature)).to.equal(false);
    }
  });
});
