import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Bench, buildModule, modulePath } from "./harness.js";

describe("pkcs11-tool and p11tool with the module", function () {
  this.timeout(180_000);
  let bench: Bench;
  const document = randomBytes(3000);

  before(async () => {
    await buildModule();
    bench = new Bench();
    await bench.startDaemon();
    writeFileSync(bench.path("document"), document);
    const keygen = ["--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "test"];
    const { code, stderr } = await bench.pkcs11Tool(...keygen);
    expect(code, stderr).to.equal(0);
    await bench.pkcs11Tool(
      "--read-object",
      "--type",
      "pubkey",
      "--id",
      "01",
      "-o",
      bench.path("key.der"),
    );
  });
  after(() => bench.close());

  async function sign(mechanism: string, input: string, ...more: string[]): Promise<void> {
    const files = ["--input-file", bench.path(input), "--output-file", bench.path("signature")];
    const { code, stderr } = await bench.pkcs11Tool(
      "--sign",
      "--id",
      "01",
      "-m",
      mechanism,
      ...files,
      ...more,
    );
    expect(code, stderr).to.equal(0);
  }

  async function expectOpenssl(...parameters: string[]): Promise<void> {
    const { code, stdout, stderr } = await bench.run("openssl", parameters);
    expect(code, stdout + stderr).to.equal(0);
  }

  async function expectTokenVerifies(
    mechanism: string,
    input: string,
    ...more: string[]
  ): Promise<void> {
    const files = ["--input-file", bench.path(input), "--signature-file", bench.path("signature")];
    const { stdout, stderr } = await bench.pkcs11Tool(
      "--verify",
      "--id",
      "01",
      "-m",
      mechanism,
      ...files,
      ...more,
    );
    expect(stdout, stderr).to.contain("Signature is valid");
  }

  it("the token's flags tell of wrong PINs, the last attempt, and that it is locked", async () => {
    const own = new Bench();
    const tool = ["--module", modulePath, "--token-label", "dns"];
    const flags = async (): Promise<string> => {
      const { stdout } = await own.run("pkcs11-tool", [...tool, "-T"]);
      return /token flags +: (.*)/.exec(stdout)?.[1] ?? stdout;
    };
    const wrongly = (): Promise<unknown> =>
      own.run("pkcs11-tool", [...tool, "--login", "--pin", "0", "-O"]);
    try {
      // Without a daemon they are as they always are.
      const usual = await flags();
      expect(usual).to.contain("login required");
      await own.startDaemon();
      expect(await flags()).to.equal(usual);
      const [low, final, locked] = ["user PIN count low", "final user PIN try", "user PIN locked"];
      await wrongly();
      expect(await flags())
        .to.contain(low)
        .and.not.contain(final);
      await wrongly();
      expect(await flags())
        .to.contain(low)
        .and.contain(final)
        .and.not.contain(locked);
      await wrongly();
      expect(await flags())
        .to.contain(locked)
        .and.not.contain(final);
    } finally {
      await own.close();
    }
  });

  it("shows tokens to anybody and private keys to those who log in", async () => {
    const slots = await bench.run("pkcs11-tool", ["--module", modulePath, "--list-slots"]);
    // One slot a token.
    const labels = [...slots.stdout.matchAll(/^ +token label +: (.*)$/gm)].map(
      ([, label]) => label,
    );
    expect(labels).to.have.members(["dns", "other"]);
    expect(slots.stdout.match(/^Slot \d+ /gm)).to.have.length(2);
    const anybody = await bench.run("pkcs11-tool", ["--module", modulePath, "--list-objects"]);
    expect(anybody.stdout).to.contain("Public Key Object").and.not.contain("Private Key Object");
    const user = await bench.pkcs11Tool("--list-objects");
    expect(user.stdout).to.contain("Private Key Object").and.contain("never extractable");
  });

  it("refuses a wrong PIN", async () => {
    const parameters = [
      "--module",
      modulePath,
      "--token-label",
      "dns",
      "--login",
      "--pin",
      "0",
      "-O",
    ];
    expect((await bench.run("pkcs11-tool", parameters)).stderr).to.contain("CKR_PIN_INCORRECT");
  });

  it("has a forgotten PIN set by who has the recovery code", async () => {
    const own = new Bench();
    try {
      await own.startDaemon();
      Object.assign(own.environment, { CODE: "recovery", NEW: "5678" });
      const officer = ["--login", "--login-type", "so", "--so-pin", "env:CODE"];
      const tool = ["--module", modulePath, "--token-label", "dns"];
      const set = await own.run("pkcs11-tool", [
        ...tool,
        ...officer,
        "--init-pin",
        "--pin",
        "5678",
      ]);
      expect(set.stdout, set.stderr).to.contain("User PIN successfully initialized");
      const old = await own.run("pkcs11-tool", [...tool, "--login", "--pin", "1234", "-O"]);
      expect(old.stderr).to.contain("CKR_PIN_INCORRECT");
      const user = await own.run("pkcs11-tool", [...tool, "--login", "--pin", "5678", "-O"]);
      expect(user.code, user.stderr).to.equal(0);
    } finally {
      await own.close();
    }
  });

  it("passes pkcs11-tool's own tests", async () => {
    const { code, stdout, stderr } = await bench.pkcs11Tool("--test");
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout).to.contain("No errors");
  });

  for (const [name, hash] of [
    ["SHA1", "sha1"],
    ["SHA224", "sha224"],
    ["SHA256", "sha256"],
    ["SHA384", "sha384"],
    ["SHA512", "sha512"],
  ] as const) {
    it(`signs with ${name}-RSA-PKCS and -PSS, and OpenSSL agrees`, async () => {
      const dgst = [
        "dgst",
        `-${hash}`,
        "-verify",
        bench.path("key.der"),
        "-keyform",
        "DER",
        "-signature",
      ];
      await sign(`${name}-RSA-PKCS`, "document");
      await expectOpenssl(...dgst, bench.path("signature"), bench.path("document"));
      await expectTokenVerifies(`${name}-RSA-PKCS`, "document");
      await sign(`${name}-RSA-PKCS-PSS`, "document");
      const pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:auto"];
      await expectOpenssl(...dgst, bench.path("signature"), ...pss, bench.path("document"));
      await expectTokenVerifies(`${name}-RSA-PKCS-PSS`, "document");
    });
  }

  it("signs what is already hashed, with RSA-PKCS, RSA-PKCS-PSS and RSA-X-509", async () => {
    const digest = createHash("sha256").update(document).digest();
    const prefix = Buffer.from("3031300d060960864801650304020105000420", "hex");
    writeFileSync(bench.path("digest"), digest);
    writeFileSync(bench.path("info"), Buffer.concat([prefix, digest]));
    writeFileSync(bench.path("short"), Buffer.from([7, ...randomBytes(100)]));
    const pkeyutl = [
      "pkeyutl",
      "-verify",
      "-pubin",
      "-keyform",
      "DER",
      "-inkey",
      bench.path("key.der"),
    ];
    const files = ["-in", bench.path("digest"), "-sigfile", bench.path("signature")];
    const options = ["-pkeyopt", "digest:sha256"];
    await sign("RSA-PKCS", "info");
    await expectOpenssl(...pkeyutl, ...files, ...options);
    await expectTokenVerifies("RSA-PKCS", "info");
    await sign("RSA-PKCS-PSS", "digest", "--hash-algorithm", "SHA256");
    await expectOpenssl(...pkeyutl, ...files, ...options, "-pkeyopt", "rsa_padding_mode:pss");
    await sign("RSA-X-509", "short");
    const recovered = [
      "-verifyrecover",
      "-in",
      bench.path("signature"),
      "-pkeyopt",
      "rsa_padding_mode:none",
    ];
    await expectOpenssl(
      "pkeyutl",
      ...recovered,
      "-pubin",
      "-keyform",
      "DER",
      "-inkey",
      bench.path("key.der"),
      "-out",
      bench.path("block"),
    );
    const block = readFileSync(bench.path("block"));
    expect(block.subarray(-101).equals(readFileSync(bench.path("short")))).to.equal(true);
    expect(block.subarray(0, -101).every((byte) => byte === 0)).to.equal(true);
  });

  it("tells a wrong signature from a right one", async () => {
    await sign("SHA256-RSA-PKCS", "document");
    const signature = readFileSync(bench.path("signature"));
    signature.writeUInt8(signature.readUInt8(200) ^ 1, 200);
    writeFileSync(bench.path("signature"), signature);
    const files = [
      "--input-file",
      bench.path("document"),
      "--signature-file",
      bench.path("signature"),
    ];
    const { stdout } = await bench.pkcs11Tool(
      "--verify",
      "--id",
      "01",
      "-m",
      "SHA256-RSA-PKCS",
      ...files,
    );
    expect(stdout).to.contain("Invalid signature");
  });

  it("generates, uses and deletes a key with p11tool", async () => {
    const generated = await bench.p11tool(
      "--generate-privkey",
      "rsa",
      "--bits",
      "1024",
      "--label",
      "gnutls",
      "--outfile",
      bench.path("pub"),
      "pkcs11:token=dns",
    );
    expect(generated.code, generated.stderr).to.equal(0);
    const tested = await bench.p11tool(
      "--test-sign",
      "pkcs11:token=dns;object=gnutls;type=private",
    );
    expect(tested.code, tested.stdout + tested.stderr).to.equal(0);
    const deleted = await bench.p11tool("--delete", "pkcs11:token=dns;object=gnutls");
    expect(deleted.code, deleted.stderr).to.equal(0);
    expect((await bench.p11tool("--list-all", "pkcs11:token=dns")).stdout).not.to.contain("gnutls");
  });

  it("deletes a key with pkcs11-tool", async () => {
    await bench.pkcs11Tool(
      "--keypairgen",
      "--key-type",
      "rsa:1024",
      "--id",
      "02",
      "--label",
      "gone",
    );
    const { code, stderr } = await bench.pkcs11Tool(
      "--delete-object",
      "--type",
      "privkey",
      "--id",
      "02",
    );
    expect(code, stderr).to.equal(0);
    expect((await bench.pkcs11Tool("--list-objects")).stdout).not.to.contain("gone");
  });

  it("makes one key when the daemon dies in the middle of generating it", async () => {
    await bench.stopDaemon();
    await bench.startDaemon({ keygenDelayMs: 1500 });
    const generating = bench.pkcs11Tool(
      "--keypairgen",
      "--key-type",
      "rsa:1024",
      "--id",
      "03",
      "--label",
      "once",
    );
    await delay(700);
    await bench.stopDaemon();
    await bench.startDaemon({ keygenDelayMs: 0 });
    const { code, stderr } = await generating;
    expect(code, stderr).to.equal(0);
    const { stdout } = await bench.pkcs11Tool("--list-objects", "--type", "privkey");
    expect(stdout.match(/once/g)).to.have.length(1);
  });

  it("waits for a daemon that is not there yet", async () => {
    await bench.stopDaemon();
    const listing = bench.pkcs11Tool("--list-objects");
    await delay(700);
    await bench.startDaemon();
    expect((await listing).stdout).to.contain("Private Key Object");
  });
});
