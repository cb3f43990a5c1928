import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { headers, type NatsConnection } from "nats";
import { silentLogger } from "../../src/log.js";
import { messageHeaders } from "../../src/streams/envelope.js";
import { StreamFollower } from "../../src/streams/follow.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader, type Entry } from "../../src/streams/read.js";
import { allKeys, streamNames } from "../../src/streams/subjects.js";
import { eventually, startCluster, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { keyMessage } from "./messages.js";

const stream = streamNames.keys;

async function all(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

describe("reading a stream", () => {
  let cluster: TestCluster;
  let connection: NatsConnection;
  let reader: StreamReader;
  let publisher: Publisher;

  beforeEach(async () => {
    cluster = await startCluster();
    connection = await cluster.connect("alice");
    reader = new StreamReader(connection);
    publisher = new Publisher(connection, reader, "alice");
  });
  afterEach(async () => {
    publisher.close();
    await cluster.stop();
  });

  async function publish(count: number): Promise<string[]> {
    const messages = Array.from({ length: count }, (_, i) =>
      keyMessage(cluster.key("alice"), { i }),
    );
    await Promise.all(messages.map((message) => publisher.publish(message)));
    return messages.map(({ hash }) => hash);
  }

  function follow(applied: string[]): StreamFollower {
    return new StreamFollower({
      connection,
      reader,
      stream,
      filter: allKeys,
      log: silentLogger,
      apply: ({ hash }) => void applied.push(hash),
    });
  }

  it("replays 2,000 messages in order", async () => {
    const hashes = await publish(2000);
    const entries = await all(reader.replay(stream, 1, 2000));
    expect(entries.map((entry) => ("message" in entry ? entry.message.hash : ""))).to.deep.equal(
      hashes,
    );
    expect(entries.map(({ seq }) => seq)).to.deep.equal(hashes.map((_, i) => i + 1));
  });

  it("reports junk where it stands, and reads on behind it", async () => {
    await publish(1);
    connection.publish("thsm.v1.key.junk", "no signature");
    connection.publish("thsm.v1.key.junk", "two", {
      headers: (() => {
        const h = messageHeaders(keyMessage(cluster.key("alice")));
        h.append("Thsm-Sig", h.get("Thsm-Sig"));
        return h;
      })(),
    });
    await connection.flush();
    await publish(1);
    const entries = await all(reader.replay(stream, 1, 4));
    expect(entries.map((entry) => ("junk" in entry ? entry.junk.code : "ok"))).to.deep.equal([
      "ok",
      "ERR_INVALID_SIGNATURE",
      "ERR_INVALID_SIGNATURE",
      "ok",
    ]);
  });

  it("is not stopped by a stored message that looks like the server's own answer", async () => {
    await publish(1);
    for (const status of [404, 408, 503]) {
      for (const text of ["", "x"]) {
        connection.publish("thsm.v1.key.poison", text, { headers: headers(status, "Gone") });
      }
    }
    await connection.flush();
    await publish(1);
    const entries = await all(reader.replay(stream, 1, 8));
    expect(entries.map((entry) => "junk" in entry)).to.deep.equal(
      [1, 2, 3, 4, 5, 6, 7, 8].map((seq) => seq > 1 && seq < 8),
    );
    expect(await reader.lastSeq(stream, allKeys)).to.equal(8);
    expect(await reader.last(stream, "thsm.v1.key.poison")).to.equal(undefined);
  });

  it("believes the server's headers, not those that a sender put before them", async () => {
    const message = keyMessage(cluster.key("alice"));
    const h = messageHeaders(message);
    for (const name of ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"]) {
      h.append(name, "777");
    }
    await connection.request(message.subject, message.payload, { headers: h, timeout: 2000 });
    const entry = await reader.at(stream, 1);
    expect(entry).to.deep.include({ seq: 1 });
    expect(entry !== undefined && "message" in entry && entry.message.hash).to.equal(message.hash);
  });

  it("finds nothing where there is nothing", async () => {
    expect(await reader.at(stream, 1)).to.equal(undefined);
    expect(await reader.lastSeq(stream, allKeys)).to.equal(0);
    expect(await all(reader.replay(stream, 1, 0))).to.deep.equal([]);
  });

  it("says at once what it may not read", async () => {
    const startedMs = Date.now();
    const error = await failure(reader.lastSeq(streamNames.audit, "thsm.v1.audit.>"), "ERR_BROKER");
    expect(error.message).to.include("not permitted");
    expect(Date.now() - startedMs).to.be.below(1000);
  });

  it("follows from the beginning and across a kill of the server", async function () {
    this.timeout(20_000);
    const before = await publish(50);
    const applied: string[] = [];
    const follower = follow(applied);
    await follower.catchUp();
    expect(applied).to.deep.equal(before);
    const during = publish(200);
    await cluster.server.kill();
    await cluster.server.restart();
    const hashes = new Set([...before, ...(await during)]);
    await follower.catchUp();
    expect(applied).to.have.lengthOf(hashes.size);
    expect(new Set(applied)).to.deep.equal(hashes);
    // And live, without being asked.
    const [live = ""] = await publish(1);
    await eventually("the live message", () => applied.at(-1) === live || undefined);
    follower.close();
  });

  it("has applied at the end of catchUp what was stored at its beginning", async () => {
    const applied: string[] = [];
    const follower = follow(applied);
    for (let round = 0; round < 20; round++) {
      const hashes = await publish(5);
      await Promise.all([
        follower.catchUp(),
        follower.catchUp().then(() => expect(applied).to.include.members(hashes)),
      ]);
    }
    follower.close();
  });

  it("goes on after an event that cannot be applied", async () => {
    const hashes = await publish(3);
    const applied: string[] = [];
    const follower = new StreamFollower({
      connection,
      reader,
      stream,
      filter: allKeys,
      log: silentLogger,
      apply: ({ seq, hash }) => {
        if (seq === 2) throw new TypeError("a defect");
        applied.push(hash);
      },
    });
    await follower.catchUp();
    expect(applied).to.deep.equal([hashes[0], hashes[2]]);
    expect(follower.applied).to.equal(3);
    follower.close();
  });

  it("notices that a stream has become shorter", async () => {
    await publish(3);
    const applied: string[] = [];
    const follower = follow(applied);
    await follower.catchUp();
    const shorter = await startCluster();
    try {
      const other = await shorter.connect("alice");
      const rolledBack = new StreamReader(other);
      reader.lastSeq = (...where) => rolledBack.lastSeq(...where);
      const error = await failure(follower.catchUp(), "ERR_AUDIT_MISMATCH");
      expect(error.message).to.equal("THSM_KEY ends at 0, but 3 messages of it have been read");
    } finally {
      follower.close();
      await shorter.stop();
    }
  });

  it("does not claim to have caught up when it was closed meanwhile", async () => {
    await publish(300);
    const follower = follow([]);
    const waiting = follower.catchUp();
    await sleep(5);
    follower.close();
    await failure(waiting, "ERR_ABORTED");
  });

  it("says that a closed connection does not answer", async () => {
    await connection.close();
    await failure(reader.at(stream, 1), "ERR_BROKER_UNREACHABLE");
  });
});
