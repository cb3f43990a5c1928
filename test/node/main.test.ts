import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { readNodeConfig } from "../../src/node/config.js";
import { HsmError } from "../../src/errors.js";
import { rejection } from "./eventually.js";
import { spawnNode, startHarness, startServing, type Harness } from "./harness.js";

describe("thsm-node", function () {
  this.timeout(60_000);
  let harness: Harness;
  before(async () => {
    harness = await startHarness();
  });
  after(() => harness.stop());

  it("explains itself", async () => {
    const node = spawnNode("x", "--help");
    expect(await node.ended()).to.equal(0);
    expect(node.output()).to.contain("usage: thsm-node").and.to.contain("clockToleranceMs");
  });

  it("exits with 1 for wrong usage", async () => {
    const node = spawnNode("x", "--wrong");
    expect(await node.ended()).to.equal(1);
    expect(node.output()).to.contain("--wrong").and.to.contain("usage:");
  });

  it("exits with 2 and names what is wrong with its files", async () => {
    const table: [string, string[], string, string][] = [
      ["n1", ["nonsense = 1"], "ERR_INVALID_CONFIG", "nonsense"],
      ["n1", ["workers = 0"], "ERR_INVALID_CONFIG", "workers"],
      ["n1", ['tlsCert = "x"'], "ERR_INVALID_CONFIG", "tlsKey"],
      ["n1", ['tlsCert = "x"', 'tlsKey = "y"'], "ERR_INVALID_CONFIG", "tlsCa"],
      ["alice", [], "ERR_INVALID_CONFIG", "alice"],
    ];
    for (const [name, lines, code, word] of table) {
      const node = spawnNode(await harness.configure(name, ...lines));
      expect(await node.ended(), word).to.equal(2);
      expect(node.output()).to.contain(code).and.to.contain(word);
      expect(node.output()).to.match(/^thsm-node: /m);
    }
    const missing = spawnNode(join(harness.dir, "missing.toml"));
    expect(await missing.ended()).to.equal(2);
    const path = await harness.configure("n1");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace("n1.identity", "n2.identity"));
    const other = spawnNode(path);
    expect(await other.ended()).to.equal(2);
    expect(other.output()).to.contain("n2.identity");
  });

  it("knows defaults and resolves paths from its file", async () => {
    const folder = join(harness.dir, "etc");
    await mkdir(folder);
    const path = join(folder, "node.toml");
    const lines = ["version = 1", 'name = "n1"', 'cluster = "../cluster.toml"'];
    const files = ['identityFile = "id"', 'loginFile = "/run/nk"', 'dataDir = "data"'];
    await writeFile(path, [...lines, ...files].join("\n"));
    expect(await readNodeConfig(path)).to.deep.equal({
      name: "n1",
      cluster: join(harness.dir, "cluster.toml"),
      identityFile: join(folder, "id"),
      loginFile: "/run/nk",
      dataDir: join(folder, "data"),
      workers: 1,
      tls: undefined,
      logLevel: "info",
      clockToleranceMs: 30_000,
      maxRequestLifetimeMs: 120_000,
      checkpointSeconds: 60,
    });
    await writeFile(path, "version = 1");
    const { message } = await rejection(readNodeConfig(path), HsmError);
    expect(message).to.contain(path);
  });

  it("checks itself without a broker, also while it runs", async () => {
    const config = await harness.configure("n2");
    const before = spawnNode(config, "--check");
    expect(await before.ended()).to.equal(0);
    const node = await startServing(config);
    const check = spawnNode(config, "--check");
    expect(await check.ended()).to.equal(0);
    expect(check.output()).to.contain("journal of 1 messages good");
    expect(await node.stop()).to.equal(0);
  });

  it("waits for a broker that is away, and can be stopped meanwhile", async () => {
    const config = await harness.configure("n3");
    await harness.server.stop();
    const impatient = spawnNode(config);
    await impatient.logged('"starting"');
    await sleep(100);
    expect(await impatient.stop()).to.equal(0);
    const patient = spawnNode(config);
    await patient.logged('"starting"');
    await sleep(500);
    expect(patient.child.exitCode).to.equal(null);
    await harness.server.restart();
    await patient.logged('"serving"');
    expect(await patient.stop()).to.equal(0);
  });
});
