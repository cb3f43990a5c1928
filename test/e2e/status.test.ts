/** @module `thsm status` by its exit codes, which monitors read, and watched over an outage. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { expect } from "chai";
import type { ClusterStatus, KeyInfo } from "../../src/client/index.js";
import { softwareVersion } from "../../src/version.js";
import { TestCluster, thsmProgram } from "./cluster.js";
import { until } from "./until.js";

describe("thsm status", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let key: KeyInfo;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    key = await cluster.makeKey("k", 1024);
  });
  after(() => cluster.close());

  it("ends with 0 when all is well; tells the nodes' versions and how much they sign", async () => {
    const client = await cluster.client();
    const session = await client.openSession("dns", "busy");
    const over = new AbortController();
    const signing = (async () => {
      for (let i = 0; !over.signal.aborted; i++) {
        const data = createHash("sha256").update(String(i)).digest();
        await session.sign({ keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data });
      }
    })();
    const { code, text, stdout } = await cluster.thsm("--json", "status");
    over.abort();
    await signing;
    await client.close();
    expect(code, text).to.equal(0);
    const { nodes, warnings } = JSON.parse(stdout.toString("utf8")) as ClusterStatus;
    expect(warnings).to.deep.equal([]);
    expect(nodes.map(({ software }) => software)).to.deep.equal(nodes.map(() => softwareVersion));
    const rates = nodes.map(({ sharesPerSecond = 0 }) => sharesPerSecond);
    expect(Math.max(...rates)).to.be.above(0);
  });

  it("ends with 3 when a node is not heard, and says which", async () => {
    await cluster.kill("n3");
    const { code, text } = await cluster.thsm("status");
    expect(code, text).to.equal(3);
    expect(text).to.match(/n1 {2}up \d+ s.*version \d.*shares\/s/);
    expect(text).to.match(/n3 {2}not heard[^]*WARNING node n3 is not heard/);
    await cluster.startNode("n3");
  });

  it("ends with 2 when NATS or the configuration is not there; --watch outlives an outage", async () => {
    const absent = await cluster.thsm("status", "--as", cluster.path("absent.toml"));
    expect(absent.code, absent.text).to.equal(2);
    const watch = cluster.adopt(watching());
    let [said, complained] = ["", ""];
    watch.stdout?.on("data", (text: Buffer) => (said += text.toString("utf8")));
    watch.stderr?.on("data", (text: Buffer) => (complained += text.toString("utf8")));
    const tables = (): number => said.split("as operator").length - 1;
    await until("it is shown twice", () => tables() >= 2);
    await cluster.kill("nats");
    const away = await cluster.thsm("status");
    expect(away.code, away.text).to.equal(2);
    expect(away.text).to.contain("ERR_BROKER_UNREACHABLE");
    await until("it tells of the outage", () => complained.includes("ERR_BROKER_UNREACHABLE"));
    await cluster.up();
    const before = tables();
    await until("it is shown again", () => tables() > before);
    const ended = once(watch, "exit");
    watch.kill("SIGINT");
    expect(await ended).to.deep.equal([null, "SIGINT"]);
  });

  const watching = (): ChildProcess =>
    spawn(process.execPath, [thsmProgram, "status", "--watch"], { env: cluster.env });
});
