import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { connect, type NatsConnection } from "nats";
import { importHistory, readManifest, writeHistory } from "../../../src/client/audit/export.js";
import { exportedHistory } from "../../../src/client/audit/ndjson.js";
import { publishHistory } from "../../../src/client/audit/publish-history.js";
import { keptStreams, liveHistory, type HistorySource } from "../../../src/client/audit/sources.js";
import { startNatsServer, type NatsServer } from "../../support/nats-server.js";
import { auditedSource, memoryHistory, type Audited } from "./audited.js";
import { honestHistory } from "./history.js";

const names = ["bounds.json", "manifest.json", ...keptStreams.map((stream) => `${stream}.ndjson`)];

/** All of a verdict but how long it took. */
function verdictOf({ findings, summary }: Audited): object {
  return { findings, summary: { ...summary, durationMs: 0 } };
}

describe("an export", () => {
  const history = honestHistory();
  // Something to find, so that "the same verdict" says something.
  const asked = history.request(history.openSession());
  history.answer(1, asked, { shares: history.shares(2, asked.body) });
  for (const party of [2, 3]) history.answer(party, asked);
  history.result(asked, [2, 3]);
  const source = memoryHistory(history.streams);
  let directory: string;
  const at = (...parts: string[]): string => join(directory, ...parts);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "thsm-export-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function bytesOf(dir: string): Promise<string[]> {
    return await Promise.all(names.map((name) => readFile(at(dir, name), "hex")));
  }

  for (const compress of [false, true]) {
    const how = compress ? "packed" : "plain";
    it(`${how}, wiped and imported has the same verdict, and is exported to the same bytes`, async () => {
      const before = verdictOf(await auditedSource(source, history.cluster));
      await writeHistory(source, at("one"), { compress });
      const direct = await auditedSource(exportedHistory(at("one")), history.cluster);
      expect(verdictOf(direct)).to.deep.equal(before);
      await importHistory(at("one"), at("two"));
      await rm(at("one"), { recursive: true });
      const after = await auditedSource(exportedHistory(at("two")), history.cluster);
      expect(verdictOf(after)).to.deep.equal(before);
      expect(JSON.stringify(before)).to.contain("AUDIT_WRONG_SHARE");
      await writeHistory(source, at("first"), { compress });
      await writeHistory(exportedHistory(at("two")), at("again"), { compress });
      for (const name of await readdir(at("first"))) {
        expect(await readFile(at("again", name), "hex"), name).to.equal(
          await readFile(at("first", name), "hex"),
        );
      }
    });
  }

  it("that was interrupted anywhere goes on, to the same bytes", async () => {
    await writeHistory(source, at("whole"));
    const whole = await bytesOf("whole");
    const total = keptStreams.reduce((sum, stream) => sum + history.streams[stream].length, 0);
    for (const stopAfter of [0, 1, 9, 20, total - 1]) {
      let left = stopAfter;
      const read: string[] = [];
      const broken: HistorySource = {
        bounds: () => source.bounds(),
        async *entries(stream, from) {
          for await (const entry of source.entries(stream, from)) {
            if (left-- <= 0) throw new Error("pulled out");
            read.push(`${stream} ${entry.seq}`);
            yield entry;
          }
        },
      };
      const dir = `after${stopAfter}`;
      const error: unknown = await writeHistory(broken, at(dir)).catch((cause: unknown) => cause);
      expect(String(error)).to.contain("pulled out");
      expect(await readdir(at(dir))).not.to.include("manifest.json");
      const done = keptStreams.filter((stream) => existsSync(at(dir, `${stream}.ndjson`)));
      left = Infinity;
      read.length = 0;
      await writeHistory(broken, at(dir));
      expect(read.filter((one) => done.some((stream) => one.startsWith(stream)))).to.deep.equal([]);
      expect(await bytesOf(dir)).to.deep.equal(whole);
    }
  });

  it("that was cut within a line goes on with that line", async () => {
    await writeHistory(source, at("whole"));
    await writeHistory(source, at("cut"));
    await rm(at("cut", "manifest.json"));
    const text = await readFile(at("cut", "THSM_SHARE.ndjson"));
    await rm(at("cut", "THSM_SHARE.ndjson"));
    await writeFile(at("cut", "THSM_SHARE.ndjson.part"), text.subarray(0, text.length - 30));
    const calls: unknown[] = [];
    const watched: HistorySource = {
      bounds: () => source.bounds(),
      entries: (stream, from) => {
        calls.push([stream, from]);
        return source.entries(stream, from);
      },
    };
    await writeHistory(watched, at("cut"));
    const last = history.streams.THSM_SHARE.length;
    // The last whole line is compared, and the next one written.
    expect(calls).to.deep.equal([
      ["THSM_SHARE", last - 1],
      ["THSM_SHARE", last],
    ]);
    expect(await bytesOf("cut")).to.deep.equal(await bytesOf("whole"));
  });

  it("does not go on with another history, nor over a whole export", async () => {
    await writeHistory(source, at("one"));
    const over: unknown = await writeHistory(source, at("one")).catch((cause: unknown) => cause);
    expect(over).to.include({ code: "ERR_INVALID_ARGUMENT" });
    await rm(at("one", "manifest.json"));
    const lines = (await readFile(at("one", "THSM_REQ.ndjson"), "utf8")).split("\n").slice(0, 2);
    await rm(at("one", "THSM_REQ.ndjson"));
    await writeFile(
      at("one", "THSM_REQ.ndjson.part"),
      `${lines.join("\n").replaceAll("2026-", "2025-")}\n`,
    );
    const other: unknown = await writeHistory(source, at("one")).catch((cause: unknown) => cause);
    expect(other).to.include({ code: "ERR_AUDIT_MISMATCH" });
  });

  it("is not imported when it is not whole, or not what its manifest says", async () => {
    await writeHistory(source, at("one"), { compress: true });
    const manifest = await readManifest(at("one"));
    expect(manifest.THSM_REQ.entries).to.equal(history.streams.THSM_REQ.length);
    const packed = await readFile(at("one", "THSM_REQ.ndjson.gz"));
    await writeFile(at("one", "THSM_REQ.ndjson.gz"), packed.subarray(0, packed.length - 9));
    const torn: unknown = await importHistory(at("one"), at("two")).catch((e: unknown) => e);
    expect(torn).to.include({ code: "ERR_INVALID_ARGUMENT" });
    await writeFile(at("one", "THSM_REQ.ndjson"), "{}\n");
    const changed: unknown = await importHistory(at("one"), at("three")).catch((e: unknown) => e);
    expect(changed).to.include({ code: "ERR_AUDIT_MISMATCH" });
    await rm(at("one", "manifest.json"));
    const begun: unknown = await importHistory(at("one"), at("four")).catch((e: unknown) => e);
    expect(begun).to.include({ code: "ERR_INVALID_ARGUMENT" });
  });

  describe("replayed into a nats-server", () => {
    let server: NatsServer | undefined;
    let connection: NatsConnection;
    beforeEach(async () => {
      server = await startNatsServer({ dir: directory });
      connection = await connect({ servers: server.url });
    });
    afterEach(async () => {
      await connection.close();
      await server?.stop();
    });

    it("has the same verdict there, and the same sequence numbers where some are missing", async () => {
      const streams = structuredClone(history.streams);
      // What a broker's owner does, and what rotation leaves.
      streams.THSM_REQ.splice(3, 2);
      streams.THSM_SHARE.splice(0, 4);
      const [first] = streams.THSM_AUDIT;
      if (first === undefined) throw new RangeError("empty");
      streams.THSM_AUDIT.push({ ...first, seq: (streams.THSM_AUDIT.at(-1)?.seq ?? 0) + 1 });
      const recorded = memoryHistory(streams);
      await publishHistory(recorded, connection);
      const live = await auditedSource(liveHistory(connection), history.cluster);
      const { findings, summary } = await auditedSource(recorded, history.cluster);
      expect(live.findings).to.have.deep.members(findings);
      expect(live.summary.byCode).to.deep.equal(summary.byCode);
      expect(live.codes).to.include("AUDIT_SEQUENCE_GAP");
      for (const stream of keptStreams) {
        expect(live.summary.streams[stream]).to.include({
          messages: streams[stream].length,
          last: streams[stream].at(-1)?.seq,
        });
      }
    });

    it("does not touch streams that have something in them, unless it must", async () => {
      await publishHistory(source, connection);
      const error: unknown = await publishHistory(source, connection).catch((e: unknown) => e);
      expect(error).to.include({ code: "ERR_CONFLICT" });
      await publishHistory(source, connection, { force: true });
      const live = await auditedSource(liveHistory(connection), history.cluster);
      const before = await auditedSource(source, history.cluster);
      expect(live.findings).to.have.deep.members(before.findings);
    });
  });
});
