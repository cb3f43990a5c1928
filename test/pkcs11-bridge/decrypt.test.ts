/** @module Decryption keys through the module: OpenSSL and pkcs11-tool encrypt, the token decrypts. */
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { Bench, buildModule } from "./harness.js";

describe("decryption with the module", function () {
  this.timeout(180_000);
  let bench: Bench;
  const message = randomBytes(100);

  before(async () => {
    await buildModule();
    bench = new Bench();
    await bench.startDaemon();
    writeFileSync(bench.path("message"), message);
    const keygen = ["--keypairgen", "--key-type", "rsa:2048"];
    const named = ["--id", "0d", "--label", "opener", "--usage-decrypt"];
    const made = await bench.pkcs11Tool(...keygen, ...named);
    expect(made.code, made.stderr).to.equal(0);
    const signer = await bench.pkcs11Tool(...keygen, "--id", "05", "--label", "signer");
    expect(signer.code, signer.stderr).to.equal(0);
    for (const id of ["0d", "05"]) {
      const read = ["--read-object", "--type", "pubkey", "--id", id, "-o", bench.path(`${id}.der`)];
      expect((await bench.pkcs11Tool(...read)).code).to.equal(0);
    }
  });
  after(() => bench.close());

  const oaep = ["--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"];
  const ways = [
    { name: "RSA-PKCS", openssl: ["rsa_padding_mode:pkcs1"], tool: [] },
    {
      name: "RSA-PKCS-OAEP",
      openssl: ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"],
      tool: oaep,
    },
  ];

  async function decrypt(id: string, mechanism: string, more: readonly string[]) {
    const files = ["--input-file", bench.path("cipher"), "--output-file", bench.path("plain")];
    return await bench.pkcs11Tool("--decrypt", "--id", id, "-m", mechanism, ...files, ...more);
  }

  for (const { name, openssl, tool } of ways) {
    it(`opens what OpenSSL encrypts, with ${name}`, async () => {
      const options = openssl.flatMap((one) => ["-pkeyopt", one]);
      const key = ["-pubin", "-keyform", "DER", "-inkey", bench.path("0d.der")];
      const files = ["-in", bench.path("message"), "-out", bench.path("cipher")];
      const encrypted = await bench.run("openssl", [
        "pkeyutl",
        "-encrypt",
        ...key,
        ...files,
        ...options,
      ]);
      expect(encrypted.code, encrypted.stderr).to.equal(0);
      const { code, stderr } = await decrypt("0d", name, tool);
      expect(code, stderr).to.equal(0);
      expect(readFileSync(bench.path("plain")).equals(message)).to.equal(true);
    });
  }

  it("says of a ciphertext that is none only that it is none", async () => {
    const wrong = [Buffer.alloc(256), randomBytes(256).fill(0, 0, 1), Buffer.alloc(256, 255)];
    for (const cipher of [...wrong, randomBytes(255)]) {
      writeFileSync(bench.path("cipher"), cipher);
      const { code, stderr } = await decrypt("0d", "RSA-PKCS-OAEP", oaep);
      // It tries C_DecryptUpdate after C_Decrypt has failed, which RSA does not have; the codes are below.
      expect(code, stderr).to.equal(1);
      expect(stderr).to.contain("CKR_FUNCTION_NOT_SUPPORTED");
    }
  });

  it("does not decrypt with a key that signs, nor sign with one that decrypts", async () => {
    const { stdout } = await bench.pkcs11Tool("--list-objects");
    expect(stdout).to.match(/opener[^]*?Usage:\s+(decrypt|encrypt)\n/);
    expect(stdout).to.match(/signer[^]*?Usage:\s+(sign|verify)\n/);
    const other = await decrypt("05", "RSA-PKCS", []);
    expect(other.stderr).to.contain("CKR_KEY_FUNCTION_NOT_PERMITTED");
  });

  it("follows PKCS#11 from C_DecryptInit to the end, and back again", async () => {
    for (const kind of ["plain", "asan"] as const) {
      const { code, stderr } = await bench.scenario(kind, "cipher");
      expect(code, stderr).to.equal(0);
    }
  });

  it("passes pkcs11-tool's own tests with a decryption key on the token", async () => {
    const { code, stdout, stderr } = await bench.pkcs11Tool("--test");
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout, stdout + stderr).to.contain("No errors");
  });
});
