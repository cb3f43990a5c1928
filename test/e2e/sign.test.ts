/** @module The operator's way: cluster up, key, signatures by every tool, key destroyed, cluster down. */
import { expect } from "chai";
import { constants, createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import type { Hash } from "../../src/client/index.js";
import { HsmError } from "../../src/errors.js";
import { rejection } from "../node/eventually.js";
import { run, succeed, type Outcome } from "../support/run.js";
import { TestCluster, thsmProgram } from "./cluster.js";

interface KeyJson {
  readonly keyId: string;
  readonly label: string;
  readonly modulusBits: number;
  readonly parties: string[];
  readonly state: string;
}

describe("thsm and PKCS#11 tools on a development cluster", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let document: string;
  let signature: string;
  let pem: string;
  let demo: KeyJson;

  const openssl = (...parameters: string[]): Promise<Outcome> =>
    cluster.run("openssl", ...parameters);
  const pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];

  /** That OpenSSL finds `signature` to be the demo key's over the document. */
  async function expectVerified(hash: string, ...more: string[]): Promise<void> {
    const files = ["-verify", pem, "-signature", signature, ...more, document];
    const { code, text } = await openssl("dgst", `-${hash}`, ...files);
    expect(code, text).to.equal(0);
    expect(text).to.contain("Verified OK");
  }

  before(async () => {
    cluster = new TestCluster();
    document = cluster.path("document");
    signature = cluster.path("signature");
    pem = cluster.path("pub.pem");
    writeFileSync(document, randomBytes(5000));
    // A shell that does what the help text says, and then shows its environment.
    const script = `eval "$("$0" "$1" dev up --detach --dir "$2")" && env -0`;
    const shown = await succeed("sh", ["-c", script, process.execPath, thsmProgram, cluster.dir], {
      env: cluster.env,
    });
    for (const line of shown.stdout.toString("utf8").split("\0")) {
      const [name, ...value] = line.split("=");
      if (name !== undefined && /^(THSM|NATS)_/.test(name)) cluster.env[name] = value.join("=");
    }
    expect(cluster.env["THSM_DIR"]).to.equal(cluster.dir);
    const made = await cluster.thsm("key", "generate", "--label", "demo", "--id", "d1");
    expect(made.code, made.text).to.equal(0);
    expect(made.stdout.toString("utf8")).to.match(/^[0-9a-f]{32}\n$/);
  });
  after(() => cluster.close());

  it("lists and shows the key, for people and as JSON", async () => {
    const list = await cluster.thsm("key", "list");
    expect(list.text).to.match(/^[0-9a-f]{32} {2}dns {2}rsa2048 {2}3-of-5 {2}\S+Z {2}demo\n$/);
    const listed = await cluster.thsmJson<KeyJson[]>("key", "list");
    expect(listed).to.have.length(1);
    demo = await cluster.thsmJson<KeyJson>("key", "show", "demo");
    expect(demo).to.deep.equal(listed[0]);
    expect(demo).to.include({ label: "demo", modulusBits: 2048, state: "active" });
    expect(demo.parties).to.deep.equal(["n1", "n2", "n3", "n4", "n5"]);
    const byId = await cluster.thsm("key", "show", demo.keyId.slice(0, 8));
    expect(byId.text)
      .to.match(/^threshold +3$/m)
      .and.to.match(/^label +demo$/m);

    const shown = await cluster.thsm("key", "show", "demo", "--pem");
    expect(shown.code, shown.text).to.equal(0);
    writeFileSync(pem, shown.stdout);
    expect(createPublicKey(shown.stdout).asymmetricKeyDetails).to.include({ modulusLength: 2048 });
    const json = await cluster.thsmJson<{ keyId: string; pem: string }>(
      "key",
      "show",
      "demo",
      "--pem",
    );
    expect(json.keyId).to.equal(demo.keyId);
    expect(json.pem.trim()).to.equal(shown.stdout.toString("utf8").trim());
  });

  it("signs PKCS#1 v1.5 and PSS; OpenSSL verifies", async () => {
    const sign = ["sign", "--key", "demo", "-o", signature, document];
    const plain = await cluster.thsm(...sign);
    expect(plain).to.include({ code: 0, text: "" });
    await expectVerified("sha256");
    expect((await cluster.thsm(...sign, "--hash", "sha512", "--pss")).code).to.equal(0);
    await expectVerified("sha512", ...pss);
    // OpenSSL is a verifier that can say no.
    const other = ["-verify", pem, "-signature", signature, ...pss, pem];
    expect((await openssl("dgst", "-sha512", ...other)).code).to.equal(1);
  });

  it("signs every hash that its policy allows, and no SHA-1", async () => {
    const client = await cluster.client();
    try {
      const session = await client.openSession("dns", "test");
      const data = Buffer.from("a record set");
      const key = createPublicKey(readFileSync(pem));
      const sign = (hash: Hash, encoding: "pkcs1v15" | "pss"): Promise<Uint8Array> => {
        const digest = createHash(hash).update(data).digest();
        return session.sign({ keyId: demo.keyId, encoding, hash, data: digest });
      };
      for (const hash of ["sha224", "sha256", "sha384", "sha512"] as const) {
        const pkcs1v15 = await sign(hash, "pkcs1v15");
        expect(verify(hash, data, key, pkcs1v15), hash).to.equal(true);
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        const salted = { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
        expect(verify(hash, data, salted, await sign(hash, "pss")), hash).to.equal(true);
      }
      const refused = await rejection(sign("sha1", "pss"), HsmError);
      expect(refused.code).to.equal("ERR_REFUSED_BY_POLICY");
    } finally {
      await client.close();
    }
  });

  it("signs standard input, to standard output and as JSON: the same signature", async () => {
    const input = readFileSync(document);
    const sign = [thsmProgram, "sign", "--key", "demo", "-"];
    const raw = await succeed(process.execPath, sign, { env: cluster.env, input });
    writeFileSync(signature, raw.stdout);
    await expectVerified("sha256");
    const json = await cluster.thsmJson<object>("sign", "--key", "demo", document);
    const hex = raw.stdout.toString("hex");
    expect(json).to.deep.equal({ keyId: demo.keyId, hash: "sha256", signature: hex });
  });

  describe("by PKCS#11", () => {
    const files = (): string[] => ["--input-file", document, "--output-file", signature];

    it("pkcs11-tool makes the very signature that thsm makes, and PSS", async () => {
      const sign = ["--sign", "--id", "d1", "--mechanism"];
      const plain = await cluster.pkcs11Tool(...sign, "SHA256-RSA-PKCS", ...files());
      expect(plain.code, plain.text).to.equal(0);
      await expectVerified("sha256");
      const bySign = await cluster.thsmJson<{ signature: string }>(
        "sign",
        "--key",
        "demo",
        document,
      );
      expect(readFileSync(signature).toString("hex")).to.equal(bySign.signature);
      const other = await cluster.pkcs11Tool(...sign, "SHA384-RSA-PKCS-PSS", ...files());
      expect(other.code, other.text).to.equal(0);
      await expectVerified("sha384", ...pss);
    });

    it("p11tool tests the key", async () => {
      const uri = "pkcs11:token=dns;object=demo;type=private";
      const { code, text } = await cluster.p11tool("--test-sign", uri);
      expect(code, text).to.equal(0);
      expect(text).to.match(/Verifying against public key in the token\.\.\. ok/);
    });

    it("a wrong PIN opens nothing", async () => {
      const login = ["--token-label", "dns", "--login", "--pin", "00000000"];
      const sign = ["--sign", "--id", "d1", "-m", "SHA256-RSA-PKCS", ...files()];
      const outcome = await cluster.run(
        "pkcs11-tool",
        "--module",
        cluster.module,
        ...login,
        ...sign,
      );
      expect(outcome.code).to.not.equal(0);
      expect(outcome.text).to.contain("CKR_PIN_INCORRECT");
    });
  });

  describe("says what is wrong, in one line and with exit code 2:", () => {
    const table: [what: string, parameters: string[], env: NodeJS.ProcessEnv, text: RegExp][] = [
      [
        "a wrong PIN",
        ["sign", "--key", "demo"],
        { THSM_PIN: "1" },
        /the PIN does not open .* \(ERR_WRONG_PIN\)/,
      ],
      [
        "an unknown key",
        ["sign", "--key", "none"],
        {},
        /no active key has the label or id "none"; see: thsm key list \(ERR_UNKNOWN_KEY\)/,
      ],
      [
        "SHA-1 with a key that does not allow it",
        ["sign", "--key", "demo", "--hash", "sha1"],
        {},
        /sha1.*\(ERR_REFUSED_BY_POLICY\)/,
      ],
      [
        "a token that there is not",
        ["sign", "--key", "demo", "--token", "none"],
        {},
        /has no token none \(ERR_UNKNOWN_KEY\)/,
      ],
      [
        "no configuration",
        ["sign", "--key", "demo"],
        { THSM_CONFIG: "/absent" },
        /\/absent: .*\(ERR_INVALID_CONFIG\)/,
      ],
    ];
    for (const [what, parameters, env, text] of table) {
      it(what, async () => {
        const all = [thsmProgram, ...parameters, document];
        const outcome = await run(process.execPath, all, { env: { ...cluster.env, ...env } });
        expect(outcome.code).to.equal(2);
        expect(outcome.stdout).to.have.length(0);
        expect(outcome.text)
          .to.match(text)
          .and.to.match(/^thsm: [^\n]*\n$/);
      });
    }

    it("a file that there is not", async () => {
      const outcome = await cluster.thsm("sign", "--key", "demo", cluster.path("absent"));
      expect(outcome.code).to.equal(2);
      expect(outcome.text).to.match(/^thsm: cannot read .*absent.*\(ERR_INVALID_ARGUMENT\)\n$/);
    });

    it("wrong usage, with exit code 1", async () => {
      for (const wrong of [
        ["sign"],
        ["sign", document],
        ["key", "generate", "--label", "x", "--bits", "2047"],
        ["nonsense"],
      ]) {
        const outcome = await cluster.thsm(...wrong);
        expect(outcome.code, wrong.join(" ")).to.equal(1);
        expect(outcome.text).to.match(/^error: /);
      }
    });
  });

  it("signs SHA-1 with a key that allows it", async () => {
    const generate = [
      "key",
      "generate",
      "--label",
      "old",
      "--id",
      "01",
      "--bits",
      "1024",
      "--allow-sha1",
    ];
    expect((await cluster.thsm(...generate)).code).to.equal(0);
    const signed = await cluster.thsmJson<{ signature: string }>(
      "sign",
      "--key",
      "old",
      "--hash",
      "sha1",
      document,
    );
    const { pem: old } = await cluster.thsmJson<{ pem: string }>("key", "show", "old", "--pem");
    const bytes = Buffer.from(signed.signature, "hex");
    expect(verify("sha1", readFileSync(document), old, bytes)).to.equal(true);
    const byTool = await cluster.pkcs11Tool(
      "--sign",
      "--id",
      "01",
      "-m",
      "SHA1-RSA-PKCS",
      "--input-file",
      document,
      "--output-file",
      signature,
    );
    expect(byTool.code, byTool.text).to.equal(0);
    expect(readFileSync(signature).equals(bytes)).to.equal(true);
  });

  describe("in the end", () => {
    it("destroys a key: nothing signs with it any more, no node keeps its share", async () => {
      const shareFiles = (): string[] =>
        demo.parties.map((node) => `${cluster.dir}/nodes/${node}/data/keys/${demo.keyId}.share`);
      expect(shareFiles().filter((file) => existsSync(file))).to.have.length(5);
      // Whoever knows the key from before cannot use it either.
      const client = await cluster.client();
      const session = await client.openSession("dns", "test");
      const input = {
        keyId: demo.keyId,
        encoding: "pkcs1v15",
        hash: "sha256",
        data: createHash("sha256").update("late").digest(),
      } as const;
      try {
        expect(await session.sign(input)).to.have.length(256);
        const destroyed = await cluster.thsmJson<{
          erased: string[];
          pending: string[];
          beyondRecovery: boolean;
        }>("key", "destroy", "demo");
        expect(destroyed).to.deep.include({
          erased: demo.parties,
          pending: [],
          beyondRecovery: true,
        });
        const failure: unknown = await session.sign(input).then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(failure)
          .to.have.property("code")
          .that.is.oneOf(["ERR_UNKNOWN_KEY", "ERR_KEY_NOT_ACTIVE"]);
      } finally {
        await client.close();
      }
      expect(shareFiles().filter((file) => existsSync(file))).to.deep.equal([]);
      const sign = await cluster.thsm("sign", "--key", demo.keyId, document);
      expect(sign.text).to.contain("ERR_UNKNOWN_KEY");
      const tool = await cluster.pkcs11Tool(
        "--sign",
        "--id",
        "d1",
        "-m",
        "SHA256-RSA-PKCS",
        "--input-file",
        document,
      );
      expect(tool.code).to.not.equal(0);
      expect(
        (await cluster.p11tool("--test-sign", "pkcs11:token=dns;object=demo;type=private")).code,
      ).to.not.equal(0);
      expect(
        (await cluster.thsmJson<KeyJson[]>("key", "list")).map(({ label }) => label),
      ).to.deep.equal(["old"]);
      expect((await cluster.thsm("key", "destroy", "demo")).text).to.contain("ERR_UNKNOWN_KEY");
    });

    it("keeps the other keys over a restart of everything", async () => {
      expect((await cluster.thsm("dev", "down", "--dir", cluster.dir)).text).to.equal(
        "stopped n1, n2, n3, n4, n5, nats, pkcs11d\n",
      );
      const away = await cluster.thsm("key", "list");
      expect(away).to.include({ code: 2 });
      expect(away.text).to.match(/NATS does not answer at .*ERR_BROKER_UNREACHABLE/);
      await cluster.up();
      expect((await cluster.thsm("sign", "--key", "old", "-o", signature, document)).code).to.equal(
        0,
      );
      expect(
        (
          await cluster.pkcs11Tool(
            "--sign",
            "--id",
            "d1",
            "-m",
            "SHA256-RSA-PKCS",
            "--input-file",
            document,
          )
        ).code,
      ).to.not.equal(0);
      expect((await readdir(`${cluster.dir}/nodes/n1/data/keys`)).length).to.equal(1);
    });

    it("leaves no process behind", async () => {
      expect((await cluster.survivors()).length).to.equal(7);
      expect((await cluster.thsm("dev", "down")).code).to.equal(0);
      expect(await cluster.survivors()).to.deep.equal([]);
      expect((await cluster.thsm("dev", "down")).text).to.equal("nothing runs there\n");
    });
  });
});
