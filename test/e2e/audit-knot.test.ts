/** @module A zone signed by Knot through a killed node, a lying node and a daemon that died: every RRSIG has its story. */
import { expect } from "chai";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { auditorConfigOf } from "../../src/cli/dev/cluster.js";
import {
  explainSignings,
  openHistory,
  type ClusterStatus,
  type Finding,
  type Question,
  type SigningStory,
  type ZoneReport,
} from "../../src/client/index.js";
import { rrsigOf, zoneRecords } from "../../src/client/audit/master-file.js";
import { toBase64url } from "../../src/identity/encoding.js";
import { TestCluster } from "./cluster.js";
import { Knot, zone } from "./knot.js";
import { Liar } from "./liar.js";
import { until } from "./until.js";

const wrong = toBase64url(Buffer.alloc(128, 5));

describe("the audit of a zone that Knot signed", function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let knot: Knot;
  let file: string;

  before(async () => {
    cluster = await TestCluster.start();
    knot = await Knot.create(cluster, { kskSize: 1024, zskSize: 1024, delegations: 20 });
    knot.start();
    await knot.waitFor(/control, binding/);
    await knot.finishSigning();
    await knot.beginSigning();
    await cluster.kill("pkcs11d");
    await cluster.up();
    await knot.finishSigning();
    await cluster.kill("n4");
    await cluster.kill("n2");
    const [key] = await keysOf(cluster);
    if (key === undefined) throw new Error("no key");
    const liar = await Liar.start(cluster, key);
    try {
      let isExplained = false;
      liar.lie = (self, { kind }, honest) => {
        self.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) });
        isExplained ||= kind === "explain";
      };
      // The daemon asks it again once it has heard it, and then for a proof.
      await until("the liar was asked to explain itself", async () => {
        await knot.beginSigning();
        await knot.finishSigning();
        return liar.answered > 0 && isExplained;
      });
      await until("the daemon has recorded what it did", async () => {
        const { stdout } = await cluster.thsm("--json", "status");
        const { blames } = JSON.parse(stdout.toString("utf8")) as ClusterStatus;
        return blames.some(({ verdict }) => verdict === "culprit");
      });
    } finally {
      await liar.close();
    }
    await knot.stop();
    file = cluster.path("k", "out", `${zone}.zone`);
  });
  after(() => cluster.close());

  it("is clean apart from naming the liar", async () => {
    const { stdout } = await cluster.thsm("--json", "audit", "verify");
    const { findings } = JSON.parse(stdout.toString("utf8")) as { findings: Finding[] };
    const real = findings.filter(({ severity }) => severity === "finding");
    expect(new Set(real.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
    const codes = new Set(real.map(({ code }) => code));
    // What was asked of n2 when it was killed may be delivered to its successor too, which answers otherwise.
    codes.delete("AUDIT_SHARE_DUPLICATE");
    expect(codes).to.deep.equal(
      new Set([
        // With n4 dead three honest shares are there, and it takes four that agree to prove a fourth node wrong by them.
        "AUDIT_SUSPECT_SHARE",
        // So it was asked for a proof: that one is wrong by itself,
        "AUDIT_WRONG_PROOF",
        // and the daemon put it on record.
        "AUDIT_NODE_CULPRIT",
      ]),
    );
    // The daemon that was killed could not close its sessions; what it had asked for just then has no result.
    const expected = ["AUDIT_SESSION_OPEN", "AUDIT_REQUEST_WITHOUT_RESULT", "AUDIT_NODE_SUSPECT"];
    for (const { severity, code, node = "n2" } of findings) {
      if (severity === "note")
        expect({ node, code }).to.satisfy(() => node === "n2" && expected.includes(code));
    }
  });

  it("matches every RRSIG: exit code 0", async () => {
    const { code, text, stdout } = await cluster.thsm("--json", "audit", "zone", file);
    expect(code, text).to.equal(0);
    const report = JSON.parse(stdout.toString("utf8")) as ZoneReport;
    expect(report.rrsigs).to.be.greaterThan(20);
    expect(report).to.deep.include({ matched: report.rrsigs, findings: [] });
    expect(report.keys).to.have.length(2);
    // What the signings before left.
    expect(report.keys.some(({ elsewhere }) => elsewhere.count > 0)).to.equal(true);
  });

  it("tells the story of every one of them", async () => {
    const questions: Question[] = [];
    for await (const record of zoneRecords(createInterface({ input: createReadStream(file) }))) {
      if (record.type === "RRSIG") questions.push({ signature: rrsigOf(record).signature });
    }
    const history = await openHistory({ configFile: auditorConfigOf(cluster.dir) });
    let stories: readonly SigningStory[];
    try {
      ({ stories } = await explainSignings(history.source, history.cluster, questions));
    } finally {
      await history.close();
    }
    const told = new Set(
      stories.flatMap(({ signatures }) =>
        signatures.filter(({ isValid }) => isValid).map(({ signature }) => signature),
      ),
    );
    for (const question of questions) {
      const { signature = "" } = "signature" in question ? question : {};
      expect([...told]).to.include(Buffer.from(signature, "base64url").toString("base64"));
    }
    for (const { outcome, quorum, application, recombined, inputs } of stories) {
      expect({ outcome, quorum: quorum.length }).to.deep.equal({ outcome: "signed", quorum: 3 });
      expect(application).to.match(/knotd/);
      expect(recombined).to.equal(inputs.length);
    }
    const blamed = stories.flatMap(({ findings }) => findings.flatMap(({ node }) => node ?? []));
    expect(new Set(blamed)).to.deep.equal(new Set(["n2"]));
  });

  it("is asked on the command line for a name and type", async () => {
    const { text } = await cluster.thsm("audit", "explain", "--zone", file, "@", "SOA");
    expect(text)
      .to.match(/knotd/)
      .and.to.match(/verifies under the public key/);
    const other = Buffer.alloc(128, 7).toString("base64");
    const nobody = await cluster.thsm("audit", "explain", other);
    expect(nobody.code).to.equal(3);
    expect(nobody.text).to.contain("nobody of the cluster asked for this signature");
  });
});

async function keysOf(
  cluster: TestCluster,
): Promise<Awaited<ReturnType<typeof cluster.makeKey>>[]> {
  const client = await cluster.client();
  try {
    return [...(await client.keys("dns"))];
  } finally {
    await client.close();
  }
}
