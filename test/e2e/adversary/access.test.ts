/**
 * @module Who must not get in, and who is kept out by mistake: wrong and locked PINs, strangers on the socket,
 * secrets that others can read, clocks that are wrong. Each has an error of its own that says what to do.
 */
import { expect } from "chai";
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, succeed, type Outcome } from "../../support/run.js";
import { thsmProgram, TestCluster } from "../cluster.js";
import { until } from "../until.js";

const nodeProgram = fileURLToPath(new URL("../../../src/node/main.js", import.meta.url));
const daemonProgram = fileURLToPath(new URL("../../../src/pkcs11-bridge/main.js", import.meta.url));
const pinAttemptsMax = 3;

describe("access", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let document: string;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    await cluster.makeKey("k", 1024);
    document = cluster.path("document");
    writeFileSync(document, "to sign");
    const limits = `pinAttemptsMax = ${pinAttemptsMax}\ntimeoutMs = 8000\n`;
    await appendFile(join(cluster.dir, "client/client.toml"), limits);
    await cluster.processes.stop("pkcs11d");
    await cluster.up();
  });
  after(() => cluster.close());

  const sign = (env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
    run(process.execPath, [thsmProgram, "sign", "--key", "k", document], {
      env: { ...cluster.env, ...env },
    });
  const logIn = (pin: string): Promise<Outcome> =>
    cluster.run("pkcs11-tool", "--module", cluster.module, "--login", "--pin", pin, "-O");

  /** A file with a secret line, for options that end in -source. */
  function source(name: string, text: string): string {
    writeFileSync(cluster.path(name), `${text}\n`, { mode: 0o600 });
    return cluster.path(name);
  }

  describe("by PIN", () => {
    it("a wrong PIN is refused, and says how many attempts are left", async () => {
      const { code, text } = await sign({ THSM_PIN: "0000" });
      expect(code, text).to.equal(2);
      expect(text).to.match(/2 attempts are left.*ERR_WRONG_PIN/);
      expect((await logIn("0001")).text).to.contain("CKR_PIN_INCORRECT");
      expect(await cluster.log("pkcs11d")).to.contain("one attempt is left");
      expect(await cluster.thsmJson("pin", "status")).to.deep.equal({ wrong: 2, left: 1 });
    });

    it("after too many the right one is refused too, and the error says how to unlock it", async () => {
      expect((await logIn("0002")).text).to.contain("CKR_PIN_INCORRECT");
      expect((await logIn(cluster.pin)).text).to.contain("CKR_PIN_LOCKED");
      expect(await cluster.log("pkcs11d")).to.match(/locked after 3 wrong.*thsm pin unlock/);
      const { code, text } = await sign();
      expect(code, text).to.equal(2);
      expect(text).to.match(/thsm pin unlock.*ERR_PIN_LOCKED/);
      expect((await cluster.thsm("pin", "status")).text).to.contain("locked: thsm pin unlock");
    });

    it("its owner unlocks and changes it by command", async () => {
      expect(await cluster.thsmJson("pin", "unlock")).to.deep.equal({ wrong: 0, left: 3 });
      const old = ["--pin-source", source("old", cluster.pin)];
      const wrong = ["--pin-source", source("wrong", "0000")];
      const next = ["--new-pin-source", source("new", "a new PIN")];
      const refused = await cluster.thsm("pin", "change", ...wrong, ...next);
      expect(refused.text).to.contain("2 attempts are left");
      expect(refused.code).to.equal(2);
      const changed = await cluster.thsm("pin", "change", ...old, ...next);
      expect(changed.text).to.contain("the PIN is changed");
      expect(changed.code).to.equal(0);
      expect((await logIn(cluster.pin)).text).to.contain("CKR_PIN_INCORRECT");
      expect((await logIn("a new PIN")).code).to.equal(0);
      const code = ["--recovery-source", source("code", "not the code")];
      const recovered = await cluster.thsm("pin", "unlock", ...code, ...next);
      expect(recovered.code, recovered.text).to.equal(2);
      expect(recovered.text).to.contain("recovery code");
      cluster.env["THSM_PIN"] = "a new PIN";
      writeFileSync(join(cluster.dir, "client/pin"), "a new PIN\n");
    });
  });

  if (process.geteuid?.() === 0) {
    it("a foreign user on the socket is turned away at once, though its permissions let everybody in", async () => {
      for (const directory of [cluster.root, cluster.dir]) chmodSync(directory, 0o755);
      chmodSync(join(cluster.dir, "pkcs11d.sock"), 0o666);
      // The build may lie below a directory that others cannot enter.
      const module = cluster.path("module.so");
      cpSync(cluster.module, module);
      const conf = cluster.path("pkcs11.conf");
      cpSync(cluster.env["THSM_PKCS11_CONF"] ?? "", conf);
      await appendFile(conf, "timeout = 100\n");
      for (const file of [module, conf]) chmodSync(file, 0o644);
      const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
      const tool = ["pkcs11-tool", "--module", module, "--login", "--pin", cluster.pin, "-O"];
      const env = { ...cluster.env, THSM_PKCS11_CONF: conf, THSM_PKCS11_DEBUG: "1" };
      // Ended before the module's own patience is.
      const options = { env, timeoutMs: 60_000 };
      const { code, text } = await run("setpriv", [...nobody, ...tool], options);
      expect(code, text).to.equal(1);
      expect(text)
        .to.contain("refuses the user of this process")
        .and.to.contain("CKR_DEVICE_ERROR");
      expect(await cluster.log("pkcs11d")).to.match(/uid 65534 \(process \d+\) is not among/);
      expect((await logIn(cluster.pin)).code).to.equal(0);
    });
  }

  for (const [who, file, parameters] of [
    ["a client", "client/identity.json", [thsmProgram, "sign", "--key", "k", "document"]],
    ["a node", "nodes/n1/identity.json", [nodeProgram, "--config", "nodes/n1/node.toml"]],
    ["the daemon", "client/login.nk", [daemonProgram, "--config", "client/pkcs11d.toml"]],
  ] as const) {
    it(`${who} whose key file others can read does not start, and says which file and what to run`, async () => {
      const path = join(cluster.dir, file);
      const absolute = parameters.map((one) =>
        one.endsWith(".toml") ? join(cluster.dir, one) : one === "document" ? document : one,
      );
      chmodSync(path, 0o644);
      // Where it would start it is not in the way of the one that runs.
      await cluster.processes.stop("pkcs11d");
      const { code, text } = await run(process.execPath, absolute, { env: cluster.env });
      chmodSync(path, 0o600);
      await cluster.up();
      expect(code, text).to.equal(2);
      expect(text).to.contain(`${path} has mode 644`).and.to.contain(`run: chmod 600 ${path}`);
      expect(text).to.contain("ERR_UNTRUSTED_FILE");
    });
  }

  describe("with a clock that is ten minutes off", () => {
    /** What makes a program believe that it is another time; its timers run as they should. */
    async function clock(offset: string): Promise<NodeJS.ProcessEnv> {
      const parameters = ["-m", "--exclude-monotonic", "-f", offset, "env"];
      const { text } = await succeed("faketime", parameters);
      const names = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];
      const found = names.map((name) => [name, new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1]]);
      return Object.fromEntries(found) as NodeJS.ProcessEnv;
    }

    for (const [offset, told] of [
      ["+10m", /is (59\d|60\d) s behind this host's/],
      ["-10m", /is (59\d|60\d) s ahead of this host's/],
    ] as const) {
      it(`a client whose clock is wrong by ${offset} gets nothing signed, and is told whose clock it is`, async () => {
        const { code, text } = await sign(await clock(offset));
        expect(code, text).to.equal(2);
        expect(text).to.contain("the client's clock is wrong").and.to.contain("ERR_EXPIRED");
        expect(text).to.match(told);
      });
    }

    it("a node whose clock is wrong refuses, signing goes on, and the error and the status name it", async () => {
      await cluster.kill("n1");
      const config = join(cluster.dir, "nodes/n1/node.toml");
      const env = { ...cluster.env, ...(await clock("+10m")) };
      const command = { command: process.execPath, args: [nodeProgram, "--config", config], env };
      await cluster.processes.start({ name: "n1", ...command });
      const serves = async (): Promise<boolean> =>
        (await cluster.log("n1")).trimEnd().split("\n").at(-1)?.includes('"serving"') === true;
      await until("n1 serves", serves);
      const others = await sign();
      expect(others.code, others.text).to.equal(0);
      const status = await cluster.thsm("status");
      expect(status.text).to.match(/the clock of n1 is (59\d|60\d) s ahead of this host's/);
      // Without it there is no quorum.
      await cluster.kill("n3");
      const { code, text } = await sign();
      expect(code, text).to.equal(2);
      expect(text).to.match(/n1 says: .*this node's clock is wrong.*ERR_QUORUM_NOT_REACHED/);
      expect(text).to.match(/the clock of n1 is (59\d|60\d) s ahead of this host's/);
      await cluster.kill("n1");
      await cluster.up();
      const again = await sign();
      expect(again.code, again.text).to.equal(0);
    });
  });

  it("leaves a clean history but for the clocks", async () => {
    const { code, text } = await cluster.thsm("audit", "verify");
    expect(code, text).to.equal(0);
    expect(readFileSync(document, "utf8")).to.equal("to sign");
  });
});
