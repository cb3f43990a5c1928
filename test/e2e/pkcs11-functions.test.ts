/** @module What PKCS#11 has beside signing, with real nodes: decryption, pkcs11-tool's own tests. */
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestCluster } from "./cluster.js";

describe("PKCS#11 functions on a cluster", function () {
  this.timeout(300_000);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    const keygen = ["--keypairgen", "--key-type", "rsa:1024", "--id", "0d", "--usage-decrypt"];
    const opener = await cluster.pkcs11Tool(...keygen, "--label", "opener");
    expect(opener.code, opener.text).to.equal(0);
    // pkcs11-tool --test signs SHA-1, raw blocks and what is no DigestInfo with every key that it finds.
    const anything = ["--allow-sha1", "--allow-opaque", "--allow-raw"];
    const bits = ["--label", "signer", "--bits", "1024", "--id", "05"];
    const signer = await cluster.thsm("key", "generate", ...bits, ...anything);
    expect(signer.code, signer.text).to.equal(0);
    const read = ["--read-object", "--type", "pubkey", "--id", "0d", "-o", cluster.path("0d.der")];
    expect((await cluster.pkcs11Tool(...read)).code).to.equal(0);
  });
  after(() => cluster.close());

  const message = randomBytes(20);
  for (const [mechanism, openssl, tool] of [
    ["RSA-PKCS", ["rsa_padding_mode:pkcs1"], []],
    [
      "RSA-PKCS-OAEP",
      ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"],
      ["--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"],
    ],
  ] as const) {
    it(`decrypts what OpenSSL encrypts with ${mechanism}, and shows it to nobody`, async () => {
      const [plain, cipher] = [cluster.path("plain"), cluster.path("cipher")];
      writeFileSync(plain, message);
      const key = ["-pubin", "-keyform", "DER", "-inkey", cluster.path("0d.der")];
      const options = openssl.flatMap((one) => ["-pkeyopt", one]);
      const files = ["-in", plain, "-out", cipher];
      const made = await cluster.run(
        "openssl",
        "pkeyutl",
        "-encrypt",
        ...key,
        ...files,
        ...options,
      );
      expect(made.code, made.text).to.equal(0);
      const opened = cluster.path("opened");
      const way = ["-m", mechanism, "--input-file", cipher, "--output-file", opened, ...tool];
      const { code, text } = await cluster.pkcs11Tool("--decrypt", "--id", "0d", ...way);
      expect(code, text).to.equal(0);
      expect(readFileSync(opened).equals(message)).to.equal(true);
      // On record like a signature, but neither the ciphertext nor what is in it.
      const record = cluster.path(`history-${mechanism}`);
      const exported = await cluster.thsm("audit", "export", record);
      expect(exported.code, exported.text).to.equal(0);
      const entries = readdirSync(record, { recursive: true, withFileTypes: true });
      const texts = entries.flatMap((one) =>
        one.isFile() ? [readFileSync(join(one.parentPath, one.name), "utf8")] : [],
      );
      const history = texts.join("");
      expect(history).to.contain("decrypt");
      for (const needle of [readFileSync(cipher), message]) {
        expect(history).not.to.contain(needle.toString("hex"));
        expect(history).not.to.contain(needle.toString("base64url"));
      }
    });
  }

  it("passes pkcs11-tool's own tests to their end", async () => {
    const { code, text } = await cluster.pkcs11Tool("--test");
    expect(code, text).to.equal(0);
    expect(text).to.contain("No errors");
  });

  it("keeps certificates, data and new names over a restart of everything", async () => {
    const [certificate, key] = [cluster.path("cert.der"), cluster.path("tls.key")];
    const subject = ["-subj", "/CN=test", "-outform", "DER", "-out", certificate];
    const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, ...subject];
    expect((await cluster.run("openssl", ...request)).code).to.equal(0);
    const writing = ["--write-object", certificate, "--type", "cert", "--id", "05"];
    const written = await cluster.pkcs11Tool(...writing, "--label", "certificate");
    expect(written.code, written.text).to.equal(0);
    const data = ["--write-object", cluster.path("plain"), "--type", "data"];
    const more = ["--label", "notes", "--application-label", "app"];
    const noted = await cluster.pkcs11Tool(...data, ...more);
    expect(noted.code, noted.text).to.equal(0);
    const naming = ["--set-id", "0505", "--type", "privkey", "--id", "05"];
    const named = await cluster.pkcs11Tool(...naming);
    expect(named.code, named.text).to.equal(0);

    await cluster.down();
    await cluster.up();

    const { text } = await cluster.pkcs11Tool("--list-objects");
    expect(text).to.contain("certificate").and.contain("notes").and.contain("0505");
    const back = cluster.path("back");
    const reading = ["--read-object", "--type", "cert", "--id", "05", "--output-file", back];
    const read = await cluster.pkcs11Tool(...reading);
    expect(read.code, read.text).to.equal(0);
    expect(readFileSync(back).equals(readFileSync(certificate))).to.equal(true);
    const dataBack = ["--read-object", "--type", "data", "--label", "notes", "-o", back];
    expect((await cluster.pkcs11Tool(...dataBack)).code).to.equal(0);
    expect(readFileSync(back).equals(message)).to.equal(true);
    for (const which of [
      ["cert", "--id", "05"],
      ["data", "--label", "notes"],
    ]) {
      const gone = await cluster.pkcs11Tool("--delete-object", "--type", ...which);
      expect(gone.code, gone.text).to.equal(0);
    }
    const after = await cluster.pkcs11Tool("--list-objects");
    expect(after.text).not.to.contain("certificate").and.not.contain("notes");
  });

  it("takes certificates from p11tool, and refuses to import a private key", async () => {
    const pem = cluster.path("cert.pem");
    const convert = ["x509", "-inform", "DER", "-in", cluster.path("cert.der"), "-out", pem];
    expect((await cluster.run("openssl", ...convert)).code).to.equal(0);
    const write = ["--write", "--load-certificate", pem, "--label", "gnutls", "pkcs11:token=dns"];
    const written = await cluster.p11tool(...write);
    expect(written.code, written.text).to.equal(0);
    expect((await cluster.p11tool("--list-all", "pkcs11:token=dns")).text).to.contain("gnutls");
    const importing = [
      "--write-object",
      cluster.path("tls.key"),
      "--type",
      "privkey",
      "--id",
      "09",
    ];
    const refused = await cluster.pkcs11Tool(...importing);
    expect(refused.text).to.contain("CKR_ATTRIBUTE_VALUE_INVALID");
    expect(await cluster.log("pkcs11d")).to.contain("a private key was to be imported");
  });

  it("leaves a clean history", async () => {
    const { code, text } = await cluster.thsm("audit", "verify");
    expect(code, text).to.equal(0);
  });
});
