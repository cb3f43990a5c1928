/** @module Streams are given room while a client signs: nothing fails, and nothing is lost to the audit. */
import { expect } from "chai";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { HsmClient, KeyInfo, SigningSession } from "../../src/client/index.js";
import { TestCluster } from "./cluster.js";
import { until } from "./until.js";

const keep = ["--keep", "0", "--keep-messages", "30"];

describe("thsm audit rotate", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let client: HsmClient;
  let key: KeyInfo;
  let session: SigningSession;
  let signed = 0;

  async function sign(): Promise<void> {
    const data = createHash("sha256").update(String(signed++)).digest();
    await session.sign({ keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data });
  }

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    client = await cluster.client();
    key = await client.generateKey({ token: "dns", label: "one", modulusBits: 1024 });
    session = await client.openSession("dns", "audited program");
    for (let i = 0; i < 60; i++) await sign();
  });
  after(async () => {
    await client.close();
    await cluster.close();
  });

  async function first(stream: string): Promise<number> {
    const outcome = await cluster.thsm("--json", "audit", "verify", "--no-recombine");
    const { summary } = JSON.parse(outcome.stdout.toString("utf8")) as {
      summary: { streams: Record<string, { first: number }> };
    };
    return summary.streams[stream]?.first ?? 0;
  }

  it("lets nothing go without the permission, and says which one", async () => {
    const { code, text } = await cluster.thsm("audit", "rotate", cluster.path("one"), ...keep);
    expect(code).to.equal(2);
    expect(text).to.contain("$JS.API.STREAM.UPDATE.THSM_REQ");
    expect(await first("THSM_REQ")).to.equal(1);
  });

  it("goes on where it was, while the nodes sign", async () => {
    const file = `${cluster.dir}/nats/server.conf`;
    const text = readFileSync(file, "utf8");
    const create = '"$JS.API.STREAM.CREATE.THSM_REQ"';
    expect(text).to.contain(create);
    const updates = ["REQ", "SHARE", "AUDIT"].map((name) => `"$JS.API.STREAM.UPDATE.THSM_${name}"`);
    writeFileSync(file, text.replace(create, [create, ...updates].join("\n")));
    const nats = await cluster.processes.find("nats");
    if (nats === undefined) throw new Error("no nats-server");
    process.kill(nats, "SIGHUP");

    const over = new AbortController();
    const before = signed;
    const signing = (async () => {
      while (!over.signal.aborted) await sign();
    })();
    try {
      await until("the server has read its permissions", async () => {
        const { code } = await cluster.thsm("audit", "rotate", cluster.path("one"), ...keep);
        return code === 0;
      });
      expect(await first("THSM_REQ")).to.be.greaterThan(20);
      expect(await first("THSM_SHARE")).to.be.greaterThan(40);
      expect(await first("THSM_KEY")).to.equal(1);
    } finally {
      over.abort();
      await signing;
    }
    expect(signed).to.be.greaterThan(before);
  });

  it("leaves streams and export that are one clean history, and neither is it alone", async () => {
    const alone = await cluster.thsm("audit", "verify");
    expect(alone.code).to.equal(3);
    expect(alone.text).to.contain("AUDIT_SEQUENCE_GAP");
    const whole = await cluster.thsm("audit", "verify", "--with", cluster.path("one"));
    expect(whole.code, whole.text).to.equal(0);
  });

  it("can be done again, and nodes that start anew go on", async () => {
    for (let i = 0; i < 20; i++) await sign();
    const with1 = ["--with", cluster.path("one")];
    const again = await cluster.thsm("audit", "rotate", cluster.path("two"), ...keep, ...with1);
    expect(again.code, again.text).to.equal(0);
    await cluster.kill("n1");
    await cluster.kill("n2");
    await cluster.startNode("n1");
    await cluster.startNode("n2");
    await cluster.kill("n3");
    await sign();
    await cluster.startNode("n3");
    const both = [cluster.path("one"), cluster.path("two")];
    const whole = await cluster.thsm("audit", "verify", "--with", ...both);
    expect(whole.code, whole.text).to.equal(0);
  });
});
