/** @module Knot DNS signs a zone through the module while parts of the cluster die. */
import { expect } from "chai";
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TestCluster } from "./cluster.js";
import { Knot } from "./knot.js";
import { until } from "./until.js";

/** So that a signing takes some seconds even on a machine with nothing else to do. */
const delegations = 40;

describe("Knot with the module", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let knot: Knot;

  before(async () => {
    cluster = await TestCluster.start();
    knot = await Knot.create(cluster, { kskSize: 2048, zskSize: 1024, delegations });
  });
  after(() => cluster.close());

  it("loads and signs when the daemon comes after knotd", async () => {
    await cluster.processes.stop("pkcs11d");
    knot.start();
    // knotd waits for its zones before it says anything.
    await sleep(3000);
    expect(knot.isRunning).to.equal(true);
    await cluster.up();
    await knot.waitFor(/control, binding/);
    // A load makes both keys first.
    expect(await knot.finishSigning()).to.be.greaterThan(delegations);
    const keys = await cluster.thsmJson<{ modulusBits: number }[]>("key", "list");
    expect(keys.map(({ modulusBits }) => modulusBits)).to.have.members([1024, 2048]);
  });

  describe("goes on signing, and every signature is valid, after kill -9 of", () => {
    /** Kills in the middle of a signing; `mend` is what the operator's service manager does. */
    async function sign(names: readonly string[], mend?: () => Promise<void>): Promise<void> {
      await knot.beginSigning();
      for (const name of names) {
        await sleep(400);
        await cluster.kill(name);
      }
      expect(knot.logged).to.not.match(/successfully signed/);
      await mend?.();
      expect(await knot.finishSigning()).to.be.greaterThan(delegations);
    }

    it("the daemon", () =>
      sign(["pkcs11d"], async () => {
        await sleep(2000);
        await cluster.up();
      }));

    it("nats-server", () =>
      sign(["nats"], async () => {
        await sleep(500);
        await cluster.up();
      }));

    it("one node and another", () => sign(["n2", "n4"]));
  });

  describe("with three of five nodes dead", () => {
    before(() => {
      // The operator's choice: how long an application waits for a signature.
      appendFileSync(cluster.env["THSM_PKCS11_CONF"] ?? "", "timeout = 5\n");
    });

    it("says so, stays alive, and goes on by itself when a node returns", async () => {
      await cluster.up();
      await knot.stop();
      knot.mark();
      knot.start();
      await knot.waitFor(/control, binding/);
      for (const name of ["n1", "n3", "n5"]) await cluster.kill(name);
      await knot.beginSigning();
      await knot.waitFor(/error: .*sign/i);
      expect(knot.isRunning).to.equal(true);
      expect((await knot.ctl("status")).code).to.equal(0);
      expect(await cluster.log("pkcs11d")).to.match(
        /[0-9] of 5 nodes [^"]*\(ERR_QUORUM_NOT_REACHED\)/,
      );
      knot.mark();
      await cluster.startNode("n3");
      // The zone that is served is signed: what Knot does by itself may find it up to date.
      await knot.waitFor(/DNSSEC, (successfully signed|zone is up-to-date)/);
      await knot.beginSigning();
      expect(await knot.finishSigning()).to.be.greaterThan(delegations);
    });

    it("can be stopped in the middle of the outage", async () => {
      await cluster.kill("n3");
      await knot.beginSigning();
      await sleep(500);
      await knot.ctl("stop");
      await until("knotd has ended", () => !knot.isRunning);
    });
  });
});
