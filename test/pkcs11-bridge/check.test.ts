/** @module `thsm-pkcs11d --check` finds what would stop the daemon, and says what it is. */
import { expect } from "chai";
import { appendFileSync, chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Finding } from "../../src/pkcs11-bridge/check.js";
import { startCluster, type TestCluster } from "../support/cluster.js";
import { run } from "../support/run.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const daemon = fileURLToPath(new URL("../../src/pkcs11-bridge/main.js", import.meta.url));

describe("thsm-pkcs11d --check", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let config: string;

  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster.stop());
  beforeEach(async () => {
    await cluster.clientConfig("alice");
    mkdirSync(join(cluster.dir, "run"), { recursive: true, mode: 0o700 });
    config = join(cluster.dir, "pkcs11d.toml");
    writeDaemonConfig("alice.toml");
  });

  function writeDaemonConfig(client: string, directory = "run"): void {
    const socket = join(cluster.dir, directory, "socket");
    writeFileSync(config, `version = 1\nclient = "${client}"\nsocket = "${socket}"\n`);
  }

  async function check(): Promise<{ code: number; findings: Finding[] }> {
    const all = [daemon, "--config", config, "--check", "--json"];
    const { code, stdout } = await run(process.execPath, all);
    return { code, findings: JSON.parse(stdout.toString("utf8")) as Finding[] };
  }

  /** What is wrong, after how much that is good. */
  async function expectBad(good: number, what: Finding["what"], text: RegExp): Promise<void> {
    const { code, findings } = await check();
    const bad = findings.filter(({ isGood }) => !isGood);
    expect(bad).to.have.length(1);
    expect(bad[0]?.what).to.equal(what);
    expect(bad[0]?.text).to.match(text);
    expect(findings).to.have.length(good + 1);
    expect(code).to.equal(2);
  }

  it("is content with what works", async () => {
    const { code, findings } = await check();
    expect(findings.map(({ what, isGood }) => [what, isGood])).to.deep.equal(
      ["configuration", "socket", "client", "cluster", "keys"].map((what) => [what, true]),
    );
    expect(findings.at(-1)?.text).to.contain("thsm key generate --token zones");
    expect(code).to.equal(0);
  });

  it("tells people the same", async () => {
    const { text } = await run(process.execPath, [daemon, "--config", config, "--check"]);
    expect(text).to.match(/^good {2}configuration .*\n(good .*\n){4}$/);
  });

  it("finds a setting that is none", async () => {
    writeFileSync(config, 'version = 1\nsokcet = "/run/thsm/pkcs11d.sock"\n');
    await expectBad(0, "configuration", /pkcs11d\.toml: .*sokcet/);
  });

  it("finds a directory for the socket that is missing, and one that is everybody's", async () => {
    writeDaemonConfig("alice.toml", "gone");
    await expectBad(4, "socket", /make it, or enable thsm-pkcs11d\.socket/);
    writeDaemonConfig("alice.toml");
    chmodSync(join(cluster.dir, "run"), 0o777);
    await expectBad(4, "socket", /can be written by everybody/);
    chmodSync(join(cluster.dir, "run"), 0o700);
  });

  it("finds that the kernel cannot be asked who connects, and then the daemon does not start", async () => {
    // An installation whose addon was not built.
    const broken = join(cluster.dir, "broken");
    const filter = (file: string): boolean => !file.endsWith(".node");
    cpSync(join(root, "dist/src"), join(broken, "dist/src"), { recursive: true, filter });
    cpSync(join(root, "package.json"), join(broken, "package.json"));
    symlinkSync(join(root, "node_modules"), join(broken, "node_modules"));
    const program = join(broken, "dist/src/pkcs11-bridge/main.js");
    const start = (...more: string[]): ReturnType<typeof run> =>
      run(process.execPath, [program, "--config", config, ...more]);
    const checked = await start("--check");
    expect(checked.code, checked.text).to.equal(2);
    expect(checked.text).to.match(/^BAD +socket +cannot ask who connects/m);
    const started = await start();
    expect(started.code, started.text).to.equal(2);
    expect(started.text).to.contain("npm run build").and.to.contain('peers = "modes"');
    appendFileSync(config, 'peers = "modes"\n');
    const trusting = await start("--check");
    expect(trusting.code, trusting.text).to.equal(0);
  });

  it("finds a peer that is no user", async () => {
    appendFileSync(config, 'peers = ["is-no-user"]\n');
    await expectBad(4, "socket", /there is no user "is-no-user"/);
  });

  it("finds a secret that others can read", async () => {
    chmodSync(join(cluster.dir, "alice.json"), 0o644);
    await expectBad(2, "client", /alice\.json.*ERR_UNTRUSTED_FILE/);
    chmodSync(join(cluster.dir, "alice.json"), 0o600);
  });

  it("finds an identity that is somebody else's", async () => {
    await cluster.clientConfig("eve");
    const eve = join(cluster.dir, "eve.toml");
    const text = `version = 1\nname = "alice"\ncluster = "cluster.toml"\nidentityFile = "eve.json"\nloginFile = "alice.nk"\n`;
    writeFileSync(eve, text);
    writeDaemonConfig("eve.toml");
    await expectBad(2, "client", /eve\.json is not the identity/);
  });

  it("finds a login that NATS does not take, and a NATS that is not there", async () => {
    const path = join(cluster.dir, "alice.toml");
    const head = `version = 1\nname = "alice"\nidentityFile = "alice.json"`;
    writeFileSync(path, `${head}\ncluster = "cluster.toml"\nloginFile = "stranger.nk"\n`);
    const seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    writeFileSync(join(cluster.dir, "stranger.nk"), seed, { mode: 0o600 });
    await expectBad(3, "cluster", /Authorization Violation/i);
    await cluster.clientConfig("alice");
    await cluster.server.stop();
    await expectBad(3, "cluster", /NATS does not answer at nats:.*ERR_BROKER_UNREACHABLE/);
    await cluster.server.restart();
  });
});
