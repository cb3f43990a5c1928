import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { listSignings, type ListItem, type SigningLine } from "../../../src/client/audit/list.js";
import { auditZone, formatZoneReport, type ZoneReport } from "../../../src/client/audit/zone.js";
import { memoryHistory } from "./audited.js";
import { HistoryBuilder, honestHistory, type Asked } from "./history.js";

describe("a zone against the log", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "thsm-zone-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  function zoneHistory(): { history: HistoryBuilder; asked: Asked[] } {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    const asked = Array.from({ length: 3 }, () => history.signed(session));
    history.closeSession(session);
    return { history, asked };
  }

  function rrsig(owner: string, signature: string, algorithm = 8): string {
    const base64 = Buffer.from(signature, "base64url").toString("base64");
    return `${owner} 300 IN RRSIG A ${algorithm} 2 300 20260401000000 20260301000000 777 z. (\n\t${base64} )\n`;
  }

  /** As RFC 3110 has it. */
  function dnskey(history: HistoryBuilder): string {
    const [proposed] = history.streams.THSM_KEY;
    const { modulus, publicExponent } = JSON.parse(
      Buffer.from(proposed?.payload ?? "").toString("utf8"),
    ) as { modulus: string; publicExponent: string };
    const exponent = Buffer.from(publicExponent, "base64url");
    const bytes = [Buffer.of(exponent.length), exponent, Buffer.from(modulus, "base64url")];
    return `z. 300 IN DNSKEY 256 3 8 ${Buffer.concat(bytes).toString("base64")}\n`;
  }

  async function audited(history: HistoryBuilder, text: string): Promise<ZoneReport> {
    const file = join(directory, "z.zone");
    await writeFile(file, text);
    return await auditZone(file, memoryHistory(history.streams), history.cluster);
  }

  it("matches every signature, and counts the old ones by key and time", async () => {
    const { history, asked } = zoneHistory();
    const [one = "", two = ""] = asked.map(({ body }) => history.signatures(body, [1, 2])[0]);
    const text = `${dnskey(history)}${rrsig("a.z.", one)}${rrsig("b.z.", two)}${rrsig("c.z.", "AAAA", 13)}`;
    const report = await audited(history, text);
    expect(report).to.deep.include({
      rrsigs: 3,
      matched: 2,
      otherAlgorithms: 1,
      findings: [],
      historyFindings: 0,
    });
    expect(report.keys).to.have.length(1);
    expect(report.keys[0]).to.deep.include({ key: history.key, inZone: 2, failed: 0 });
    expect(report.keys[0]?.keyTags).to.have.length(1);
    expect(report.keys[0]?.elsewhere.count).to.equal(1);
    expect(report.keys[0]?.elsewhere.first).to.match(/^2026-03-01/);
    expect(formatZoneReport(report)).to.match(
      /3 RRSIGs: 2 are recorded, 0 findings, 1 are not RSA/,
    );
  });

  it("finds a signature that nobody asked for, and says of which key it claims to be", async () => {
    const { history, asked } = zoneHistory();
    const [one = ""] = asked.map(({ body }) => history.signatures(body, [1, 2])[0]);
    const other = Buffer.alloc(128, 9).toString("base64url");
    const { findings } = await audited(history, rrsig("a.z.", one) + rrsig("b.z.", other));
    expect(findings).to.have.length(1);
    expect(findings[0]).to.deep.include({
      code: "ZONE_SIGNATURE_NOT_RECORDED",
      owner: "b.z.",
      keyTag: 777,
      line: 3,
    });
    expect(findings[0]?.text).to.match(/no key of this cluster/);
    const [record] = (await audited(history, dnskey(history))).keys;
    const ours = rrsig("b.z.", other).replace(" 777 ", ` ${record?.keyTags[0]} `);
    const named = await audited(history, `${dnskey(history)}${ours}`);
    expect(named.findings[0]).to.deep.include({ key: history.key });
  });

  it("does not take the word of a message that was altered, or of a result that does not verify", async () => {
    const { history, asked } = zoneHistory();
    const [one = ""] = asked.map(({ body }) => history.signatures(body, [1, 2])[0]);
    const result = history.streams.THSM_AUDIT.find(({ payload }) =>
      Buffer.from(payload).includes(one),
    );
    if (result === undefined) throw new RangeError("no result");
    result.payload = Buffer.concat([result.payload, Buffer.from(" ")]);
    const altered = await audited(history, rrsig("a.z.", one));
    expect(altered.findings.map(({ code }) => code)).to.deep.equal(["ZONE_SIGNATURE_NOT_RECORDED"]);
    expect(altered.historyFindings).to.be.greaterThan(0);

    const session = history.openSession();
    const lie = history.request(session);
    for (const party of [1, 2]) history.answer(party, lie);
    const wrong = Buffer.alloc(128, 5).toString("base64url");
    history.result(lie, [1, 2], { signatures: [wrong] });
    const lied = await audited(history, rrsig("a.z.", wrong));
    expect(lied.findings.map(({ code }) => code)).to.deep.equal(["ZONE_SIGNATURE_WRONG"]);
  });
});

describe("the list of signings", () => {
  async function listed(
    history: HistoryBuilder,
    options: Parameters<typeof listSignings>[2] = {},
  ): Promise<SigningLine[]> {
    const items: ListItem[] = [];
    for await (const item of listSignings(memoryHistory(history.streams), history.cluster, options))
      items.push(item);
    return items.flatMap((item) => (item.type === "signing" ? [item.line] : []));
  }

  it("has one line a signing, with who asked, who signed, and how it ended", async () => {
    const lines = await listed(honestHistory());
    const kinds = lines.map(({ kind, outcome, attempts }) => `${kind} ${outcome} ${attempts}`);
    expect(kinds).to.have.members([
      "test signed 1",
      ...Array.from({ length: 3 }, () => "sign signed 1"),
      "sign signed 2",
      "sign failed 1",
      "explain signed 1",
    ]);
    const escalated = lines.find(({ attempts }) => attempts === 2);
    expect(escalated).to.deep.include({
      asked: ["ada", "bob", "cyd"],
      quorum: ["ada", "cyd"],
      application: "knotd 4711",
      elapsedMs: 12,
    });
  });

  it("is narrowed by node, client, failure and time", async () => {
    const history = honestHistory();
    const all = await listed(history);
    const cyd = await listed(history, { node: "cyd" });
    expect(cyd.length).to.be.greaterThan(0).and.lessThan(all.length);
    expect(cyd.every(({ asked }) => asked.includes("cyd"))).to.equal(true);
    const failures = await listed(history, { failures: true });
    expect(failures.map(({ code }) => code)).to.deep.equal(["ERR_REFUSED_BY_POLICY"]);
    expect(await listed(history, { client: "bind" })).to.deep.equal([]);
    expect(await listed(history, { scope: { sinceMs: Date.parse("2027-01-01") } })).to.deep.equal(
      [],
    );
  });
});
