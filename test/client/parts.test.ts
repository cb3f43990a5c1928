import { once } from "node:events";
import { connect as connectTo, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import type { NatsConnection } from "nats";
import { Batcher, type Item } from "../../src/client/batcher.js";
import { Collector, type Answer } from "../../src/client/collector.js";
import { connect } from "../../src/client/index.js";
import { NodeHealth } from "../../src/client/node-health.js";
import { within } from "../../src/client/within.js";
import { HsmError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import { consume, type Delivery } from "../../src/streams/consume.js";
import { messageHeaders, signMessage, type SignedMessage } from "../../src/streams/envelope.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import { nodeConsumer } from "../../src/streams/settings.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import { eventually, startCluster, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { examples } from "../streams/examples.js";
import { request } from "../streams/messages.js";

describe("the batcher", () => {
  let sent: number[][];
  let release: (() => void)[];
  let done: number[];
  beforeEach(() => {
    [sent, release, done] = [[], [], []];
  });
  const batcherOf = (window: number, batch: number, gatherMs = 1): Batcher =>
    new Batcher({
      window,
      batch,
      gatherMs: () => gatherMs,
      sign: (items) => {
        sent.push(items.map(({ data }) => data[0] ?? 0));
        return new Promise((resolve) => {
          release.push(() => resolve(items.map(({ data }) => data)));
        });
      },
    });
  const item = (n: number, call = { isOver: false }): Item => ({
    data: Uint8Array.of(n),
    encoded: new Uint8Array(),
    salt: undefined,
    deadlineMs: 0,
    resolve: (signature) => void done.push(signature[0] ?? 0),
    reject: () => void done.push(-n),
    call,
  });

  it("sends together what comes together, spread over the window", async () => {
    const batcher = batcherOf(2, 3);
    for (let n = 1; n <= 9; n++) batcher.add(item(n));
    await sleep(5);
    expect(sent).to.deep.equal([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    release[0]?.();
    await sleep(5);
    expect(sent[2]).to.deep.equal([7, 8, 9]);
    for (const one of release) one();
    await sleep(5);
    expect(done.toSorted((a, b) => a - b)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(batcher.isIdle).to.equal(true);
  });

  it("lets a request wait for its share of the callers", async () => {
    const batcher = batcherOf(2, 8, 60_000);
    for (const n of [1, 2, 3, 4]) batcher.add(item(n));
    await eventually("all", () => sent.length === 2 || undefined);
    release[0]?.();
    await eventually("answers", () => done.length === 2 || undefined);
    batcher.add(item(5));
    await sleep(5);
    expect(sent).to.deep.equal([
      [1, 2],
      [3, 4],
    ]);
    batcher.add(item(6));
    await eventually("they are sent", () => sent.length === 3 || undefined);
    expect(sent[2]).to.deep.equal([5, 6]);
  });

  it("waits for nobody while the window has room for each caller", async () => {
    const batcher = batcherOf(2, 8, 60_000);
    batcher.add(item(1));
    await eventually("the first", () => sent.length === 1 || undefined);
    batcher.add(item(2));
    await eventually("the second", () => sent.length === 2 || undefined);
  });

  it("goes on without callers who do not come back", async () => {
    const batcher = batcherOf(2, 8);
    for (const n of [1, 2, 3, 4]) batcher.add(item(n));
    await eventually("all", () => sent.length === 2 || undefined);
    release[0]?.();
    await eventually("answers", () => done.length === 2 || undefined);
    batcher.add(item(5));
    await eventually("it is sent", () => sent.length === 3 || undefined);
    expect(sent[2]).to.deep.equal([5]);
  });

  it("leaves out what nobody waits for any more", async () => {
    const batcher = batcherOf(1, 8);
    const call = { isOver: false };
    batcher.add(item(1));
    await sleep(5);
    batcher.add(item(2, call));
    batcher.add(item(3));
    call.isOver = true;
    release[0]?.();
    await sleep(5);
    expect(sent).to.deep.equal([[1], [3]]);
  });

  it("fails the items of a request that fails, and goes on", async () => {
    let calls = 0;
    const batcher = new Batcher({
      window: 1,
      batch: 1,
      gatherMs: () => 1,
      sign: (items) =>
        ++calls === 1
          ? Promise.reject(new HsmError("ERR_BROKER", "no"))
          : Promise.resolve(calls === 2 ? [] : items.map(({ data }) => data)),
    });
    for (const n of [1, 2, 3]) batcher.add(item(n));
    await eventually("all", () => done.length === 3 || undefined);
    expect(done).to.deep.equal([-1, -2, 3]);
  });
});

describe("a wait with an end", () => {
  const late = (): HsmError => new HsmError("ERR_DEADLINE", "late");
  const never = new Promise<never>(() => undefined);

  it("ends in the result, the deadline or the signal, whichever is first", async () => {
    const deadlineMs = Date.now() + 20;
    expect(await within(Promise.resolve(1), { deadlineMs, late })).to.equal(1);
    await failure(within(never, { deadlineMs, late }), "ERR_DEADLINE");
    await failure(within(never, { deadlineMs: Number.NaN, late }), "ERR_DEADLINE");
    const signal = AbortSignal.abort();
    await failure(within(never, { deadlineMs: Infinity, signal, late }), "ERR_ABORTED");
    const failing = Promise.reject(new HsmError("ERR_BROKER", "no"));
    await failure(within(failing, { deadlineMs: Infinity, late }), "ERR_BROKER");
  });
});

describe("parts of the client on a bus", () => {
  let cluster: TestCluster;
  let alice: NatsConnection;
  let n1: NatsConnection;
  before(async () => {
    cluster = await startCluster();
    alice = await cluster.connect("alice");
    n1 = await cluster.connect("n1");
  });
  after(() => cluster.stop());

  const { subject = "", body = {} } = examples["shares"] ?? {};
  const rid = String(body["rid"]);
  const answer = (who: string, more: object = {}): SignedMessage =>
    signMessage(cluster.key(who), streamNames.shares, subject, { ...body, ...more });

  it("collects authentic answers to what is awaited, live or fetched, and counts the rest", async () => {
    const reader = new StreamReader(alice);
    const collector = new Collector(cluster.cluster, "alice", alice, reader, silentLogger);
    const publisher = new Publisher(n1, new StreamReader(n1), "n1");
    const got: Answer[] = [];
    await alice.flush();
    await publisher.publish(answer("n1", { n: 1 }));
    // The live copy has passed by when the answer is awaited.
    await alice.flush();
    collector.expect(rid, (one) => got.push(one));
    await collector.fetch("n1", String(body["session"]), rid);
    expect(got.map((one) => one.body.n)).to.deep.equal([1]);
    await publisher.publish(answer("n2"));
    await publisher.publish(answer("n1", { node: "n2" }));
    await publisher.publish({ ...answer("n1"), signature: answer("n1", { n: 3 }).signature });
    n1.publish(subject, "junk");
    await publisher.publish(answer("n1", { n: 2 }));
    await eventually("the answer", () => got.length === 2 || undefined);
    expect(Object.fromEntries(collector.refused)).to.deep.equal({
      ERR_UNKNOWN_SENDER: 1,
      ERR_INVALID_MESSAGE: 1,
      ERR_INVALID_SIGNATURE: 2,
    });
    collector.forget(rid);
    await publisher.publish(answer("n1", { n: 4 }));
    expect(got).to.have.lengthOf(2);
    collector.close();
    publisher.close();
  });

  it("ranks nodes by life, honesty and speed, and is not deceived by old beats", async () => {
    const health = new NodeHealth(cluster.cluster, alice);
    await alice.flush();
    const beatOf = (who: string, more: object): SignedMessage => {
      const at = formatSubject({ kind: "beat", node: "n1" });
      return signMessage(cluster.key(who), "", at, { ...examples["beat"]?.body, ...more });
    };
    const send = (message: SignedMessage): void =>
      n1.publish(message.subject, message.payload, { headers: messageHeaders(message) });
    const names = ["n1", "n2", "n3"];
    expect(names.every((name) => health.isAlive(name))).to.equal(true);
    send(beatOf("n2", {}));
    await n1.flush();
    expect(health.isAlive("n3")).to.equal(true);
    send(beatOf("n1", { boot: "B".repeat(22), time: "2026-01-02T00:00:00.000Z" }));
    await eventually("the beat", () => !health.isAlive("n2") || undefined);
    expect(health.rank(names)[0]).to.equal("n1");
    await eventually("old beats help nobody", async () => {
      send(beatOf("n1", { boot: "C".repeat(22), time: "2026-01-01T00:00:00.000Z" }));
      send(beatOf("n1", { boot: "B".repeat(22), time: "2026-01-03T00:00:00.000Z" }));
      await n1.flush();
      return !health.isAlive("n1") || undefined;
    });
    health.avoid("n1", true);
    expect(health.rank(names).at(-1)).to.equal("n1");
    for (let i = 0; i < 20; i++) {
      health.asked("n2", 1);
      health.gaveUp("n2", 1, 2000);
      health.asked("n3", 1);
      health.answered("n3", 1, 20);
    }
    expect(health.rank(["n2", "n3"])).to.deep.equal(["n3", "n2"]);
    expect(health.patienceMs).to.equal(250);
    expect(health.rank(["unknown", "n3"])[0]).to.equal("n3");
    health.close();
  });

  it("asks a node that was slow again before long, and then believes its new answer time", async () => {
    const health = new NodeHealth(cluster.cluster, alice);
    const names = ["n1", "n2", "n3"];
    const quick = (node: string): void => {
      health.asked(node, 1);
      health.answered(node, 1, 20);
    };
    for (let i = 0; i < 30; i++) {
      health.asked("n1", 1);
      health.answered("n1", 1, 40);
      quick("n2");
      quick("n3");
    }
    expect(health.rank(names).at(-1)).to.equal("n1");
    await eventually("it is asked as the others are", () => {
      quick("n2");
      quick("n3");
      const first = Array.from({ length: 100 }, () => health.rank(names)[0]);
      if (first.includes("n1")) quick("n1");
      return first.filter((name) => name === "n1").length > 10 || undefined;
    });
    health.close();
  });

  it("connects to a server that gave up the first login as too slow, and to none that is not there", async () => {
    let tries = 0;
    const server = createServer((near) => {
      near.on("error", () => undefined);
      if (tries++ > 0) {
        const far = connectTo(Number(new URL(cluster.server.url).port), "127.0.0.1");
        near.pipe(far).pipe(near);
        far.on("error", () => near.destroy());
        return;
      }
      near.write('INFO {"server_id":"a","version":"2.10.27","headers":true,"nonce":"n"}\r\n');
      near.end("-ERR 'Authentication Timeout'\r\n");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const options = { name: "alice", loginFile: join(cluster.dir, "alice.nk"), log: silentLogger };
    const servers = [`nats://127.0.0.1:${port}`];
    const connection = await connectBus({ ...options, servers, timeoutMs: 20_000 });
    expect(tries).to.equal(2);
    await connection.close();
    server.close();
    const startMs = Date.now();
    await failure(
      () => connectBus({ ...options, servers, timeoutMs: 60_000 }),
      "ERR_BROKER_UNREACHABLE",
    );
    expect(Date.now() - startMs).to.be.below(50_000);
  });

  it("tells of a node that lives and has not answered three times in a row", () => {
    const health = new NodeHealth(cluster.cluster, alice);
    const told = [0, 2000, 2000, 2000, 2000].map((waitedMs) => health.gaveUp("n2", 1, waitedMs));
    expect(told).to.deep.equal([false, false, false, true, false]);
    health.answered("n2", 1, 20);
    expect([2000, 2000].map((waitedMs) => health.gaveUp("n2", 1, waitedMs))).to.not.include(true);
    health.close();
  });

  it("tries a node that it has waited for in vain again, once, when that one has rested", async () => {
    const health = new NodeHealth(cluster.cluster, alice);
    for (let i = 0; i < 8; i++) {
      health.asked("n3", 1);
      health.answered("n3", 1, 20);
    }
    health.asked("n2", 1);
    health.gaveUp("n2", 1, 2000);
    const first = (): string | undefined => health.rank(["n2", "n3"])[0];
    expect(first()).to.equal("n3");
    await eventually("it is tried", () => first() === "n2" || undefined);
    health.asked("n2", 1);
    expect(first()).to.equal("n3");
    health.close();
  });

  it("consumes again what was not acknowledged, and acknowledges junk", async () => {
    const publisher = new Publisher(alice, new StreamReader(alice), "alice");
    const messages = [1, 2, 3].map((i) => request(cluster.key("alice"), { i }));
    const ignored: string[] = [];
    const run = (handle: (delivery: Delivery) => void): AbortController => {
      const stop = new AbortController();
      const { signal } = stop;
      const ignore = (error: HsmError): void => void ignored.push(error.code);
      void consume({
        connection: n1,
        stream: streamNames.requests,
        consumer: nodeConsumer("n1"),
        log: silentLogger,
        signal,
        handle,
        ignore,
      });
      return stop;
    };
    const early = new AbortController();
    const first: string[] = [];
    const crashed = run(({ message, retry }) => {
      first.push(message.hash);
      retry(100);
    });
    await Promise.all(messages.map((message) => publisher.publish(message)));
    alice.publish(messages[0]?.subject.replace(/.$/, "x") ?? "", "junk");
    await eventually("all", () => first.length >= 3 || undefined);
    crashed.abort();
    const second = new Set<string>();
    const again = run(({ message, ack }) => {
      second.add(message.hash);
      ack();
    });
    await eventually("all again", () => second.size === 3 || undefined);
    expect(second).to.deep.equal(new Set(messages.map(({ hash }) => hash)));
    await eventually("the junk", () => ignored.length === 1 || undefined);
    again.abort();
    // A signal that fires while the consumer is looked up ends it all the same.
    const ended = consume({
      connection: n1,
      stream: streamNames.requests,
      consumer: nodeConsumer("n1"),
      log: silentLogger,
      signal: early.signal,
      handle: ({ ack }) => ack(),
      ignore: (_, junk) => junk.ack(),
    });
    early.abort();
    await ended;
    publisher.close();
  });

  it("starts with NATS down, ends its calls meanwhile, works once it is up, and can be closed", async () => {
    await cluster.server.stop();
    const configFile = await cluster.clientConfig("bob");
    const client = await connect({ configFile });
    expect(client.connected).to.equal(false);
    await failure(client.keys("zones", { timeoutMs: 300 }), "ERR_BROKER_UNREACHABLE");
    const { signal } = new AbortController();
    const closing = await connect({ configFile });
    const waiting = closing.keys("zones", { signal });
    waiting.catch(() => undefined);
    const startedMs = Date.now();
    await closing.close();
    await failure(waiting, "ERR_ABORTED");
    expect(Date.now() - startedMs).to.be.below(2000);
    await cluster.server.restart();
    expect(await client.keys("zones", { timeoutMs: 5000 })).to.deep.equal([]);
    expect(client.connected).to.equal(true);
    await client.close();
    expect(client.connected).to.equal(false);
  });
});
