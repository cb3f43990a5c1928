/** @module Knot DNS signs a zone while one node of five lies: it does not notice, and everybody else does. */
import { expect } from "chai";
import { toBase64url } from "../../../src/identity/encoding.js";
import type { ClusterStatus, KeyInfo } from "../../../src/client/index.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { Knot } from "../knot.js";
import { Liar } from "../liar.js";
import { until } from "../until.js";

const delegations = 40;
const wrong = toBase64url(Buffer.alloc(128, 5));

describe("Knot with a lying node", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let knot: Knot;
  let liar: Liar;

  before(async () => {
    cluster = await TestCluster.start();
    knot = await Knot.create(cluster, { kskSize: 1024, zskSize: 1024, delegations });
    knot.start();
    await knot.finishSigning();
    const [key] = await cluster.thsmJson<KeyInfo[]>("key", "list");
    if (key === undefined) throw new Error("no key");
    await cluster.processes.stop("n2");
    liar = await Liar.start(cluster, key);
  });
  after(async () => {
    await liar.close();
    await cluster.close();
  });

  it("signs its zone; status, the result and the evidence name the node and the time", async () => {
    liar.lie = (who, _, honest) =>
      who.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) });
    const startMs = Date.now();
    await until("the lying node is asked, and every signature is valid", async () => {
      await knot.beginSigning();
      expect(await knot.finishSigning()).to.be.greaterThan(delegations);
      return liar.answered > 0;
    });

    let seen: ClusterStatus | undefined;
    await until("the culprit is named", async () => {
      const { code, stdout } = await cluster.thsm("--json", "status");
      seen = JSON.parse(stdout.toString("utf8")) as ClusterStatus;
      return code === 3 && seen.blames.some(({ verdict }) => verdict === "culprit");
    });
    expect(new Set(seen?.blames.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
    const blame = seen?.blames.find(({ verdict }) => verdict === "culprit");
    expect(Date.parse(blame?.time ?? "")).to.be.within(startMs, Date.now());
    expect(liar.said).to.include.members([...(blame?.evidence ?? [""])]);

    const history = await readHistory(cluster);
    const results = history.map(bodyOf).filter(({ culprits }) => culprits !== undefined);
    expect(results.length).to.be.greaterThan(0);
    for (const { type, culprits, evidence, time, quorum } of results) {
      expect({ type, culprits }).to.deep.equal({ type: "result", culprits: ["n2"] });
      expect(liar.said).to.include.members(evidence as string[]);
      expect(Date.parse(String(time))).to.be.within(startMs, Date.now());
      expect(quorum).to.not.include(2);
    }
    const event = history.find((one) => one.stream === "THSM_AUDIT" && one.seq === blame?.seq);
    expect(event === undefined ? {} : bodyOf(event)).to.deep.include({
      type: "misbehaviour",
      node: "n2",
      time: blame?.time,
    });
  });
});
