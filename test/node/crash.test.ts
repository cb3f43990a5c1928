import { randomInt } from "node:crypto";
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import type { SignRequest } from "../../src/streams/requests.js";
import { streamNames } from "../../src/streams/subjects.js";
import { testKey } from "../support/keys.js";
import { eventually } from "./eventually.js";
import { timeFromNow, type FakeClient, type ProposedKey } from "./fake-client.js";
import {
  expectContiguous,
  spawnNode,
  startHarness,
  startServing,
  type Harness,
  type NodeProcess,
} from "./harness.js";

const kills = process.env["SLOW"] === "1" ? 200 : 12;

describe("a node that crashes", function () {
  this.timeout(60_000 + kills * 3000);
  let harness: Harness;
  let alice: FakeClient;
  let config: string;
  let node: NodeProcess;
  let key: ProposedKey;

  before(async () => {
    harness = await startHarness();
    alice = await harness.client("alice");
    config = await harness.configure("n1");
    node = await startServing(config);
    key = await alice.establish(testKey(1024), ["n1"]);
  });
  after(() => harness.stop());

  it("answers every request once and continues its chain, wherever kill -9 meets it", async () => {
    const sent: SignRequest[] = [];
    const loading = new AbortController();
    const load = (async () => {
      while (!loading.signal.aborted) {
        const request = alice.request(key.id, { expires: timeFromNow(110_000) });
        sent.push(request);
        await alice.send(request);
        await sleep(10);
      }
    })();
    for (let i = 0; i < kills; i++) {
      await sleep(randomInt(150));
      await node.kill();
      node = spawnNode(config);
      // Some die before they serve.
      if (i % 4 > 0) await node.logged('"serving"');
      else await sleep(randomInt(400));
    }
    loading.abort();
    await load;
    const [last] = sent.slice(-1);
    expect(last).to.not.equal(undefined);
    for (const request of sent) {
      // What was with a dead process comes back five seconds later.
      await eventually("every answer", () => alice.answerOf("n1", request), 30_000);
    }
    expect(sent.length).to.be.greaterThan(10 * kills);

    const chain = await harness.chainOf("n1");
    expectContiguous(chain);
    const answers = chain.filter(({ message }) => message.subject.startsWith("thsm.v1.share."));
    expect(new Set(answers.map(({ message }) => message.subject)).size).to.equal(answers.length);
    expect(answers.length).to.equal(sent.length);
    await node.stop();
    const check = spawnNode(config, "--check");
    expect(await check.ended()).to.equal(0);
    expect(check.output()).to.contain(`journal of ${chain.length} messages good`);
    node = await startServing(config);
  });

  it("publishes what it had said and not yet published", async () => {
    await node.stop();
    const event = { version: 1, type: "ignored", node: "n1", counts: ["ERR_EXPIRED 1"] };
    const subject = "thsm.v1.audit.node.n1";
    const body = { ...event, time: timeFromNow() };
    const { message } = await harness.journal("n1", streamNames.audit, subject, body);
    node = await startServing(config);
    await alice.ask(key.id);
    const chain = await harness.chainOf("n1");
    expectContiguous(chain);
    expect(chain.map((one) => one.message.hash)).to.contain(message.hash);
  });

  it("gives a broker back what that has lost", async () => {
    const kept = await alice.ask(key.id);
    await harness.server.stop();
    await cp(join(harness.dir, "store"), join(harness.dir, "backup"), { recursive: true });
    await harness.server.restart();
    const lost = await alice.ask(key.id);
    // The shares of a machine that lost power without having written them to disk. Stopped in
    // order, so that the consumer remembers the acknowledgement and does not bring the request back.
    await harness.server.stop();
    const path = join("jetstream", "THSM", "streams", "THSM_SHARE");
    const [store, backup] = [join(harness.dir, "store", path), join(harness.dir, "backup", path)];
    await rm(store, { recursive: true });
    await cp(backup, store, { recursive: true });
    await harness.server.restart();
    const again = await eventually("the lost answer", () =>
      alice.answerOf("n1", lost.request).catch(() => undefined),
    );
    expect(again.message.hash).to.equal(lost.message.hash);
    const before = await alice.answerOf("n1", kept.request);
    expect(before?.message.hash).to.equal(kept.message.hash);
    expectContiguous(await harness.chainOf("n1"));
  });

  it("does not start from an old copy of its data", async () => {
    const data = harness.dataDir("n1");
    await node.stop();
    await cp(data, `${data}.old`, { recursive: true });
    node = await startServing(config);
    await alice.ask(key.id);
    await node.stop();
    await rm(data, { recursive: true });
    await cp(`${data}.old`, data, { recursive: true });
    const stale = spawnNode(config);
    expect(await stale.ended()).to.equal(2);
    expect(stale.output()).to.contain("ERR_JOURNAL");
  });

  it("does not run twice", async () => {
    const two = await harness.configure("n2");
    const holder = await startServing(two);
    const second = spawnNode(two);
    expect(await second.ended()).to.equal(2);
    expect(second.output()).to.contain("ERR_CONFLICT").and.to.contain(String(holder.child.pid));
    await holder.kill();
    const third = await startServing(two);
    expect(await third.stop()).to.equal(0);
    const left = (await readdir(harness.dataDir("n2"))).filter((name) => name.includes("lock"));
    expect(left).to.have.length(1);
  });
});
