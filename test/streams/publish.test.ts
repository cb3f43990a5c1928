import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import type { NatsConnection } from "nats";
import { provisioner } from "../../src/cli/nats-permissions.js";
import { signMessage } from "../../src/streams/envelope.js";
import { provision } from "../../src/streams/provision.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import { startCluster, testLimits, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { randomId, request } from "./messages.js";

describe("publishing into a stream", () => {
  let cluster: TestCluster;
  let connection: NatsConnection;
  let reader: StreamReader;
  let publisher: Publisher;

  before(async () => {
    cluster = await startCluster({ limits: { ...testLimits, audit: 16 * 1024 } });
    connection = await cluster.connect("alice");
    reader = new StreamReader(connection);
    publisher = new Publisher(connection, reader, "alice");
  });
  after(async () => {
    publisher.close();
    await cluster.stop();
  });

  it("stores 2,000 messages exactly once although the server is killed in the middle", async function () {
    this.timeout(30_000);
    const messages = Array.from({ length: 2000 }, (_, i) => request(cluster.key("alice"), { i }));
    const stored = messages.map((message) => publisher.publish(message, { timeoutMs: 20_000 }));
    await stored[300];
    await cluster.server.kill();
    await sleep(300);
    await cluster.server.restart();
    const seqs = (await Promise.all(stored)).map(({ seq }) => seq);
    expect(new Set(seqs).size).to.equal(2000);
    expect(publisher.pending).to.equal(0);
    // The requests' own subjects hold what was sent, and the stream holds nothing else.
    const last = await reader.last(streamNames.requests, messages.at(-1)?.subject ?? "");
    expect(last?.hash).to.equal(messages.at(-1)?.hash);
    expect(Math.max(...seqs)).to.equal(2000);
  });

  it("takes a repeat, also one after the duplicate window, for stored", async () => {
    const message = request(cluster.key("alice"));
    const first = await publisher.publish(message);
    expect(await publisher.publish(message)).to.deep.equal(first);
    // Another message id on the same bytes is what a forgotten window looks like.
    const forgotten = { ...message, hash: "00".repeat(32) };
    const error = await failure(publisher.publish(forgotten), "ERR_CONFLICT");
    expect(error.message).to.include("already holds another message");
  });

  it("recognises its own message behind a write-once refusal", async () => {
    const message = request(cluster.key("alice"));
    const { seq } = await publisher.publish(message);
    // The duplicate table is in memory of a server that forgot it: asked through a fresh id.
    let hash = "11".repeat(32);
    const shifting = {
      ...message,
      // The id that is sent, and then the hash that is compared.
      get hash() {
        const now = hash;
        hash = message.hash;
        return now;
      },
    };
    expect(await publisher.publish(shifting)).to.deep.equal({ seq });
  });

  it("refuses a second message on a write-once subject", async () => {
    const first = request(cluster.key("alice"), { n: 1 });
    await publisher.publish(first);
    const second = signMessage(cluster.key("alice"), first.stream, first.subject, { n: 2 });
    await failure(publisher.publish(second), "ERR_CONFLICT");
  });

  it("says that a stream is full, and how to go on", async () => {
    const session = randomId();
    const subject = formatSubject({ kind: "client-audit", client: "alice", session });
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        const filler = { i, text: "x".repeat(1000) };
        await publisher.publish(signMessage(cluster.key("alice"), "THSM_AUDIT", subject, filler));
      }
    };
    const error = await failure(fill(), "ERR_STREAM_FULL");
    expect(error.message).to.match(/^THSM_AUDIT is full .*: export and rotate it, or raise/);
  });

  it("does not call a stream full because a message is too long", async () => {
    const long = request(cluster.key("alice"), { text: "x".repeat(70 * 1024) });
    const error = await failure(publisher.publish(long), "ERR_BROKER");
    expect(error.message).to.include("message size exceeds maximum");
  });

  it("says at once that a login may not publish there", async () => {
    const foreign = request(cluster.key("alice"), {}, "bob");
    const startedMs = Date.now();
    const error = await failure(publisher.publish(foreign), "ERR_BROKER");
    expect(error.message).to.include("does not permit");
    expect(Date.now() - startedMs).to.be.below(2000);
  });

  it("does not believe an acknowledgement of another stream", async () => {
    const message = { ...request(cluster.key("alice")), stream: "THSM_KEY" } as const;
    const error = await failure(publisher.publish(message), "ERR_BROKER");
    expect(error.message).to.equal("expected an ack of THSM_KEY, got one of THSM_REQ");
  });

  it("ends with the caller's AbortSignal, before or during the wait", async () => {
    const abort = new AbortController();
    await cluster.server.stop();
    const waiting = publisher.publish(request(cluster.key("alice")), { signal: abort.signal });
    await sleep(20);
    abort.abort();
    await failure(waiting, "ERR_ABORTED");
    const { signal } = abort;
    await failure(publisher.publish(request(cluster.key("alice")), { signal }), "ERR_ABORTED");
    expect(publisher.pending).to.equal(0);
    await cluster.server.restart();
  });

  it("ends at its deadline, and does not hoard what was given up in an outage", async function () {
    this.timeout(20_000);
    await cluster.server.stop();
    await sleep(50);
    const lost = request(cluster.key("alice"));
    await failure(publisher.publish(lost, { timeoutMs: 300 }), "ERR_BROKER_UNREACHABLE");
    await cluster.server.restart();
    await publisher.publish(request(cluster.key("alice")));
    expect(await reader.last(streamNames.requests, lost.subject)).to.equal(undefined);
  });

  it("fails what is published after its end, and leaves nobody waiting", async () => {
    const own = await cluster.connect("bob");
    const closing = new Publisher(own, new StreamReader(own), "bob");
    await own.flush();
    const waiting = closing.publish(request(cluster.key("bob"), {}, "bob"));
    closing.close();
    await failure(waiting, "ERR_ABORTED");
    await failure(closing.publish(request(cluster.key("bob"), {}, "bob")), "ERR_ABORTED");
  });
});

describe("publishing while the streams are still created", () => {
  it("waits for the stream", async () => {
    const cluster = await startCluster({ isBare: true });
    try {
      const connection = await cluster.connect("alice");
      const publisher = new Publisher(connection, new StreamReader(connection), "alice");
      const stored = publisher.publish(request(cluster.key("alice")));
      await sleep(300);
      await provision(await cluster.connect(provisioner), testLimits, [], 1);
      expect(await stored).to.deep.equal({ seq: 1 });
      publisher.close();
    } finally {
      await cluster.stop();
    }
  });
});
