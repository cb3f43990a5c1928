/** @module Streams are given room while a client signs: nothing fails, and nothing is lost to the audit. */
import { expect } from "chai";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { operatorConfigOf } from "../../src/cli/context.js";
import { auditorConfigOf } from "../../src/cli/dev/cluster.js";
import { connectProvisioner, provisionerConfigOf } from "../../src/cli/provision.js";
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import {
  manifestDigest,
  openLive,
  planCuts,
  rotate,
  withOperator,
  type HsmClient,
  type KeyInfo,
  type Operator,
  type SigningSession,
} from "../../src/client/index.js";
import { HsmError } from "../../src/errors.js";
import type { KeptStream } from "../../src/client/audit/sources.js";
import { TestCluster } from "./cluster.js";
import { auditOf, withHistory } from "./history.js";
import { until } from "./until.js";

const keep = ["--keep", "0", "--keep-messages", "30"];
const isSlow = process.env["SLOW"] === "1";
const steps = [
  "recorded",
  "shrunk THSM_REQ",
  "let-go THSM_REQ",
  "shrunk THSM_SHARE",
  "let-go THSM_SHARE",
  "shrunk THSM_AUDIT",
  "let-go THSM_AUDIT",
];

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

  /** The first entry that a stream still holds. */
  async function first(stream: KeptStream): Promise<number> {
    const bounds = await withHistory(cluster, ({ source }) => source.bounds());
    return bounds[stream].first;
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
    const { codes, findings } = await auditOf(cluster);
    expect(codes).to.include("AUDIT_SEQUENCE_GAP");
    const gap = findings.find((one) => one.code === "AUDIT_SEQUENCE_GAP");
    expect(gap?.text).to.match(/^THSM_REQ: .* operator op let go of them at .*; name with --with/);
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
    expect((await auditOf(cluster, {}, { with: both })).codes).to.deep.equal([]);
  });

  it("is finished by the same command when it died at any step, and is on record once", async () => {
    for (let i = 0; i < 20; i++) await sign();
    const target = cluster.path("three");
    const earlier = [cluster.path("one"), cluster.path("two")];
    await cluster.thsm("audit", "export", target, "--compress");
    const child = fileURLToPath(new URL("rotate-child.js", import.meta.url));
    for (const step of isSlow ? steps : ["recorded", "shrunk THSM_AUDIT"]) {
      const { code, text } = await cluster.run(process.execPath, child, cluster.dir, target, step);
      // Killed, and not because something else went wrong.
      expect(code, `${step}: ${text}`).to.equal(-1);
      await sign();
    }
    const again = await cluster.thsm("audit", "rotate", target, ...keep, "--with", ...earlier);
    expect(again.code, again.text).to.equal(0);
    const { findings, codes } = await auditOf(cluster, {}, { with: [...earlier, target] });
    expect(codes).to.deep.equal([]);
    const manifest = await manifestDigest(target);
    const said = findings.filter(({ code }) => code === "AUDIT_ROTATED");
    expect(said.filter(({ text }) => text.includes(manifest))).to.have.length(1);
    expect(said).to.have.length(3);
    const { connection } = await openLive(auditorConfigOf(cluster.dir));
    try {
      const manager = await jetstreamManager(connection, { checkAPI: false });
      for (const stream of ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT"]) {
        const { config } = await manager.streams.info(stream);
        expect(config).to.include({ discard: "new", max_msgs: -1 });
      }
    } finally {
      await connection.close();
    }
  });

  it("makes room for its own record first when there is none", async () => {
    const target = cluster.path("three");
    const said: string[] = [];
    const connection = await connectProvisioner(provisionerConfigOf(cluster.dir));
    try {
      await withOperator(operatorConfigOf(undefined, cluster.dir), async (operator) => {
        let isFull = true;
        const full: Operator = {
          ...operator,
          say: (...what) => {
            const error = new HsmError("ERR_STREAM_FULL", "THSM_AUDIT is full");
            if (!isFull) return operator.say(...what);
            isFull = false;
            return Promise.reject(error);
          },
        };
        const exported = exportedHistory(target);
        const keepLess = { keepMs: 0, keepMessages: 15 };
        const cuts = await planCuts(exported, operator.cluster, connection, keepLess);
        for await (const step of rotate(cuts, await manifestDigest(target), full, connection)) {
          said.push("stream" in step ? `${step.type} ${step.stream}` : step.type);
        }
      });
    } finally {
      await connection.close();
    }
    expect(said.slice(0, 3)).to.deep.equal(["shrunk THSM_AUDIT", "let-go THSM_AUDIT", "recorded"]);
    expect(said.filter((step) => step.startsWith("let-go"))).to.have.length(3);
  });
});
