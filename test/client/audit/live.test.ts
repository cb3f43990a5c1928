/** @module The audit against a real nats-server, read the way an auditor reads. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { connect, type NatsConnection } from "nats";
import { writeHistory } from "../../../src/client/audit/export.js";
import { exportedHistory } from "../../../src/client/audit/ndjson.js";
import { keptStreams, liveHistory } from "../../../src/client/audit/sources.js";
import { assembleMessage } from "../../../src/streams/envelope.js";
import { provision } from "../../../src/streams/provision.js";
import { Publisher } from "../../../src/streams/publish.js";
import { StreamReader } from "../../../src/streams/read.js";
import { startNatsServer, type NatsServer } from "../../support/nats-server.js";
import { auditedSource } from "./audited.js";
import { honestHistory, type Streams } from "./history.js";

const mebibyte = 1 << 20;
const limits = {
  requests: mebibyte,
  shares: mebibyte,
  audit: mebibyte,
  keys: mebibyte,
  deals: mebibyte,
};

describe("an audit of a nats-server", () => {
  const history = honestHistory();
  let directory: string;
  let server: NatsServer | undefined;
  let connection: NatsConnection | undefined;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "thsm-audit-"));
    server = await startNatsServer({ dir: directory });
    connection = await connect({ servers: server.url });
    await provision(connection, limits, history.nodes, 1);
  });

  afterEach(async () => {
    await connection?.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function publish(streams: Streams): Promise<NatsConnection> {
    if (connection === undefined) throw new TypeError("not connected");
    const publisher = new Publisher(connection, new StreamReader(connection), "test");
    for (const stream of keptStreams) {
      for (const { subject, payload, signature } of streams[stream]) {
        await publisher.publish(assembleMessage(stream, subject, payload, signature));
      }
    }
    publisher.close();
    return connection;
  }

  it("finds nothing in an honest history, live and exported alike", async () => {
    const source = liveHistory(await publish(history.streams));
    const live = await auditedSource(source, history.cluster);
    expect(live.findings).to.deep.equal([]);
    expect(live.summary.signaturesRecombined).to.equal(8);

    await writeHistory(source, join(directory, "export"));
    const exported = exportedHistory(join(directory, "export"));
    const offline = await auditedSource(exported, history.cluster);
    expect(offline.findings).to.deep.equal([]);
    expect({ ...offline.summary, durationMs: 0 }).to.deep.equal({ ...live.summary, durationMs: 0 });
  });

  it("names stream and sequence number of a message with one other byte", async () => {
    const streams = structuredClone(history.streams);
    const spoilt = streams.THSM_SHARE[4];
    if (spoilt === undefined) throw new RangeError("no fifth share");
    const last = spoilt.payload.length - 3;
    spoilt.payload[last] = (spoilt.payload[last] ?? 0) ^ 1;
    const { findings } = await auditedSource(liveHistory(await publish(streams)), history.cluster);
    expect(findings[0]).to.include({ code: "AUDIT_BAD_SIGNATURE", stream: "THSM_SHARE" });
    expect(findings[0]?.seq).to.deep.equal([5]);
  });

  it("finds bytes that are no message at all", async () => {
    const bus = await publish(history.streams);
    await bus.request("thsm.v1.audit.node.ada", "hello");
    const { codes, findings } = await auditedSource(liveHistory(bus), history.cluster);
    expect(codes).to.deep.equal(["AUDIT_BAD_SIGNATURE"]);
    expect(findings[0]?.seq).to.deep.equal([history.streams.THSM_AUDIT.length + 1]);
  });
});
