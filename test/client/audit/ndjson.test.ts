import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { exportedHistory, formatEntry, parseEntry } from "../../../src/client/audit/ndjson.js";
import { writeHistory } from "../../../src/client/audit/export.js";
import { keptStreams } from "../../../src/client/audit/sources.js";
import { HsmError } from "../../../src/errors.js";
import { auditedSource, memoryHistory } from "./audited.js";
import { honestHistory } from "./history.js";

describe("an exported history", () => {
  const history = honestHistory();
  const source = memoryHistory(history.streams);
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "thsm-audit-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it("verifies as what it was exported from", async () => {
    await writeHistory(source, directory);
    const { findings, summary } = await auditedSource(exportedHistory(directory), history.cluster);
    expect(findings).to.deep.equal([]);
    expect(summary.signaturesRecombined).to.equal(8);
  });

  it("has the same bytes when it is exported again", async () => {
    await writeHistory(source, directory);
    const again = join(directory, "again");
    await writeHistory(exportedHistory(directory), again);
    for (const name of ["bounds.json", ...keptStreams.map((stream) => `${stream}.ndjson`)]) {
      expect(await readFile(join(again, name))).to.deep.equal(
        await readFile(join(directory, name)),
      );
    }
  });

  it("shows that its end was cut off", async () => {
    await writeHistory(source, directory);
    const file = join(directory, "THSM_AUDIT.ndjson");
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    await writeFile(file, `${lines.slice(0, -1).join("\n")}\n`);
    const { codes } = await auditedSource(exportedHistory(directory), history.cluster);
    expect(codes).to.deep.equal(["AUDIT_SEQUENCE_GAP"]);
  });

  it("has one line an entry, whatever is in it", () => {
    const [stored] = history.streams.THSM_REQ;
    if (stored === undefined) throw new RangeError("no request");
    const { seq, time, subject, signature } = stored;
    const payload = "a\u2028b\u2029c\r\nd";
    const entry = parseEntry(
      "THSM_REQ",
      JSON.stringify({ seq, time, subject, payload, signature }),
    );
    const line = formatEntry(entry);
    expect(line).not.to.match(/[\u2028\u2029\r]|\n./);
    expect(parseEntry("THSM_REQ", line)).to.deep.equal(entry);
  });

  it("keeps payloads that are not UTF-8, and entries that are no message", () => {
    const [stored] = history.streams.THSM_REQ;
    if (stored === undefined) throw new RangeError("no request");
    const { seq, time, subject, signature } = stored;
    const line = `${JSON.stringify({ seq, time, subject, payloadBase64url: "gP8", signature })}\n`;
    expect(formatEntry(parseEntry("THSM_REQ", line))).to.equal(line);
    const junk = '{"seq":7,"junk":"no signature"}\n';
    expect(formatEntry(parseEntry("THSM_REQ", junk))).to.equal(junk);
  });

  it("is refused when it cannot be read: then nothing is known of it", async () => {
    const cluster = history.cluster;
    const attempts = [
      async () => await auditedSource(exportedHistory(directory), cluster),
      async () => {
        await writeHistory(source, directory);
        await writeFile(join(directory, "THSM_REQ.ndjson"), "{}\n");
        await auditedSource(exportedHistory(directory), cluster);
      },
      async () => {
        await rm(join(directory, "THSM_REQ.ndjson"));
        await auditedSource(exportedHistory(directory), cluster);
      },
    ];
    for (const attempt of attempts) {
      const error: unknown = await attempt().catch((cause: unknown) => cause);
      expect(error).to.be.instanceOf(HsmError);
      expect(error).to.include({ code: "ERR_INVALID_ARGUMENT" });
    }
  });
});
