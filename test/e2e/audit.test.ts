/** @module The audit of a real cluster's history, as it is, with one byte changed, and away from it. */
import { expect } from "chai";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { StoredMessage } from "../../src/streams/envelope.js";
import { TestCluster } from "./cluster.js";
import type { AuditReport } from "../../src/client/index.js";
import type { Audited } from "../client/audit/audited.js";
import { auditOf, bodyOf, readHistory, republish } from "./history.js";

const isSlow = process.env["SLOW"] === "1";

describe("thsm audit", function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let history: StoredMessage[];
  let clean: AuditReport;
  const warnings: string[] = [];
  const warn = ({ message }: Error): void => void warnings.push(message);
  const withoutTime = ({ summary }: Pick<Audited, "summary">): object => ({
    ...summary,
    durationMs: 0,
  });

  before(async () => {
    process.on("warning", warn);
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    const client = await cluster.client();
    try {
      const key = await client.generateKey({ token: "dns", label: "one", modulusBits: 1024 });
      const other = await client.generateKey({ token: "dns", label: "two", modulusBits: 1024 });
      const session = await client.openSession("dns", "audited program");
      await Promise.all(
        Array.from({ length: 12 }, (_, i) =>
          session.sign({
            keyId: i % 2 === 0 ? key.keyId : other.keyId,
            encoding: i % 3 === 0 ? "pss" : "pkcs1v15",
            hash: "sha256",
            data: createHash("sha256").update(String(i)).digest(),
          }),
        ),
      );
      await session.close();
      await client.destroyKey(other.keyId);
    } finally {
      await client.close();
    }
    history = await readHistory(cluster);
  });
  after(async () => {
    process.off("warning", warn);
    await cluster.close();
  });

  it("has something to audit that was signed without a warning of Node's", () => {
    expect(warnings).to.deep.equal([]);
    expect(history.length).to.be.greaterThan(50);
  });

  it("finds an honest history clean: exit code 0", async () => {
    const { code, text } = await cluster.thsm("audit", "verify");
    expect(code, text).to.equal(0);
    // Twelve wishes and two keys' tests.
    expect(text).to.contain("14 signatures are valid, 14 were made again from their shares");
    expect(text).to.contain("0 findings");
    clean = await cluster.thsmJson<AuditReport>("audit", "verify");
    expect(clean).to.deep.include({ clean: true, findings: [] });
  });

  it("finds the same in an export", async () => {
    expect((await cluster.thsm("audit", "export", cluster.path("export"))).code).to.equal(0);
    const offline = await auditOf(cluster, {}, { exportDir: cluster.path("export") });
    expect(withoutTime(offline)).to.deep.equal(withoutTime(clean));
  });

  it("finds one byte that was changed in an export: exit code 3", async () => {
    const file = cluster.path("export", "THSM_SHARE.ndjson");
    const text = readFileSync(file, "utf8");
    const at = text.indexOf("shares") + 20;
    writeFileSync(file, `${text.slice(0, at)}${text[at] === "A" ? "B" : "A"}${text.slice(at + 1)}`);
    const outcome = await cluster.thsm("audit", "verify", "--offline", cluster.path("export"));
    expect(outcome.code, outcome.text).to.equal(3);
    expect(outcome.text).to.match(/^FINDING AUDIT_BAD_SIGNATURE THSM_SHARE 1: /m);
  });

  describe("of a history that is stored again, message by message,", () => {
    it("finds nothing when it is the same", async () => {
      const dir = await republish(cluster, "same", history);
      const { findings, summary } = await auditOf({ dir });
      expect(findings).to.deep.equal([]);
      expect(summary).to.include({ signaturesRecombined: 14 });
    });

    const kinds: [what: string, stream: string, is: (body: Record<string, unknown>) => boolean][] =
      [
        ["request", "THSM_REQ", ({ kind }) => kind === "sign"],
        ["share", "THSM_SHARE", ({ kind }) => kind === "shares"],
        ["result", "THSM_AUDIT", ({ type }) => type === "result"],
        ["session's end", "THSM_AUDIT", ({ type }) => type === "session-closed"],
        ["key's proposal", "THSM_KEY", ({ type }) => type === "proposed"],
        ["key's erasure", "THSM_KEY", ({ type }) => type === "erased"],
      ];
    const spoiltOf = (of: typeof kinds): StoredMessage[] =>
      of.map(([what, stream, is]) => {
        const one = history.filter((each) => each.stream === stream && is(bodyOf(each))).at(-1);
        return one ?? expect.fail(`no ${what}`);
      });
    const alone = isSlow ? kinds.map((kind) => [kind]) : [];
    for (const [index, some] of [kinds, ...alone].entries()) {
      it(`finds one byte of a ${some.map(([what]) => what).join(", a ")}, and says where`, async () => {
        const spoilt = spoiltOf(some);
        const messages = history.map((one) => (spoilt.includes(one) ? withOtherByte(one) : one));
        const dir = await republish(cluster, `spoilt${index}`, messages);
        const { code, text } = await cluster.thsm("audit", "verify", "--dir", dir);
        expect(code, text).to.equal(3);
        for (const { stream, seq } of spoilt) {
          expect(text).to.match(new RegExp(`^FINDING \\w+ ${stream} ${seq}[:,]`, "m"));
        }
        expect(text).to.not.contain("0 findings");
      });
    }
  });

  it("reads the history of a stopped cluster, and leaves it stopped", async () => {
    await cluster.down();
    const { code, text } = await cluster.thsm("audit", "verify", "--dir", cluster.dir);
    expect(code, text).to.equal(0);
    expect(text).to.contain("the cluster is down").and.to.contain("14 were made again");
    expect(await cluster.processes.find("nats")).to.equal(undefined);
  });

  it("says so when there is nothing to read: exit code 2", async () => {
    const outcome = await cluster.thsm("audit", "verify", "--offline", cluster.path("absent"));
    expect(outcome.code).to.equal(2);
    expect(outcome.text).to.match(/^thsm: cannot read .*absent/m);
  });
});

/** A digit or letter becomes another: still JSON, so that nothing but the signature tells. */
function withOtherByte(message: StoredMessage): StoredMessage {
  const payload = Buffer.from(message.payload);
  const at = payload.length - 4;
  payload[at] = payload[at] === 0x30 ? 0x31 : 0x30;
  return { ...message, payload };
}
