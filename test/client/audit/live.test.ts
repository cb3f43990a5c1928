/** @module The audit against a real nats-server, read the way an auditor reads. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { connect, type NatsConnection } from "nats";
import { writeHistory } from "../../../src/client/audit/export.js";
import { exportedHistory } from "../../../src/client/audit/ndjson.js";
import { keptStreams, liveHistory } from "../../../src/client/audit/sources.js";
import { HsmError } from "../../../src/errors.js";
import { assembleMessage } from "../../../src/streams/envelope.js";
import { provision } from "../../../src/streams/provision.js";
import { Publisher } from "../../../src/streams/publish.js";
import { StreamReader } from "../../../src/streams/read.js";
import { startNatsServer, type NatsServer } from "../../support/nats-server.js";
import { NatsProxy, type Packet } from "../../support/proxy.js";
import { auditedSource, type Audited } from "./audited.js";
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

  describe("that lies to the auditor", () => {
    /** Audits what the server holds, with the lie in place of what it answers. */
    async function lied(lie: (answer: Packet) => Packet | undefined): Promise<Audited> {
      await publish(history.streams);
      const proxy = await NatsProxy.start(server?.url ?? "");
      let told = 0;
      proxy.lie = (packet) => {
        const answer = packet.way === "down" ? lie(packet) : packet;
        if (answer !== packet) told++;
        return answer === undefined ? [] : [answer];
      };
      const auditor = await connect({ servers: `nats://127.0.0.1:${proxy.port}` });
      try {
        return await auditedSource(liveHistory(auditor), history.cluster);
      } finally {
        await auditor.close();
        proxy.close();
        expect(told).to.be.greaterThan(0);
      }
    }

    function isShare({ headers: block }: Packet, seq: number): boolean {
      return block.includes("Nats-Stream: THSM_SHARE\r\n") && numberOf(block) === seq;
    }

    it("is found when it says that an entry is not there", async () => {
      const none = { headers: "NATS/1.0 404 Message Not Found\r\n\r\n", payload: Buffer.alloc(0) };
      const { codes } = await lied((one) => (isShare(one, 4) ? { ...one, ...none } : one));
      expect(codes).to.include.members(["AUDIT_SEQUENCE_GAP", "AUDIT_CHAIN_GAP"]);
    });

    it("is found when it changes what it answers", async () => {
      const { codes } = await lied((one) => {
        if (!isShare(one, 4)) return one;
        return { ...one, payload: Buffer.concat([one.payload, Buffer.from(" ")]) };
      });
      expect(codes).to.include("AUDIT_BAD_SIGNATURE");
    });

    it("is found when it answers with an older entry under the number of another", async () => {
      let older: Packet | undefined;
      const { codes, summary } = await lied((one) => {
        if (isShare(one, 3)) older = one;
        if (!isShare(one, 4) || older === undefined) return one;
        return { ...one, headers: renumbered(older, 4).headers, payload: older.payload };
      });
      expect(codes).to.include.members(["AUDIT_CHAIN_GAP", "AUDIT_RESULT_WITHOUT_QUORUM"]);
      expect(summary.repeats).to.equal(1);
    });

    it("is found when it hides the end of a stream", async () => {
      // Up to the share that ends the escalation.
      const { codes } = await lied((one) => withLast(one, "THSM_SHARE", -6));
      expect(codes).to.include("AUDIT_RESULT_WITHOUT_QUORUM");
    });

    it("is found when it shows a request again behind the last", async () => {
      const next = history.streams.THSM_REQ.length + 1;
      let asked: Packet | undefined;
      const { codes } = await lied((one) => {
        const { headers: block } = one;
        if (block.includes("Nats-Stream: THSM_REQ\r\n") && numberOf(block) === 3) asked = one;
        if (asked === undefined || !block.startsWith("NATS/1.0 404")) {
          return withLast(one, "THSM_REQ", 1);
        }
        const { payload } = asked;
        return { ...one, headers: renumbered(asked, next).headers, payload };
      });
      expect(codes).to.include("AUDIT_REQUEST_DUPLICATE");
    });

    for (const [what, answer, code] of [
      ["is silent about an entry", () => undefined, "ERR_BROKER_UNREACHABLE"],
      ["answers with another number", (one: Packet) => renumbered(one, 5), "ERR_BROKER"],
    ] as const) {
      it(`stops the audit, which has found nothing then, when it ${what}`, async () => {
        const error: unknown = await lied((one) => (isShare(one, 4) ? answer(one) : one)).catch(
          (cause: unknown) => cause,
        );
        expect(error).to.be.instanceOf(HsmError);
        expect(error).to.include({ code });
      }).timeout(60_000);
    }
  });
});

function numberOf(block: string): number {
  return Number(/Nats-Sequence: (\d+)/.exec(block)?.[1]);
}

function renumbered(packet: Packet, seq: number): Packet {
  const block = packet.headers.replace(/Nats-Sequence: \d+/, `Nats-Sequence: ${seq}`);
  return { ...packet, headers: block };
}

/** The server's word how a stream stands, with another end. */
function withLast(packet: Packet, stream: string, difference: number): Packet {
  const text = packet.payload.toString("utf8");
  const [, last] = /"last_seq":(\d+)/.exec(text) ?? [];
  if (last === undefined || !text.includes(`"name":"${stream}"`)) return packet;
  const changed = text.replace(`"last_seq":${last}`, `"last_seq":${Number(last) + difference}`);
  return { ...packet, payload: Buffer.from(changed) };
}
