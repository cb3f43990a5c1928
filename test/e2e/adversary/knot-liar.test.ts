/** @module Knot DNS signs a zone while one node of five lies: it does not notice, and everybody else does. */
import { expect } from "chai";
import type { KeyInfo } from "../../../src/client/index.js";
import type { StoredMessage } from "../../../src/streams/envelope.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { Knot } from "../knot.js";
import { Liar } from "../liar.js";
import { until } from "../until.js";
import {
  expectNamed,
  namingResults,
  others,
  statusOf,
  withProofs,
  wrongShares,
  type Behaviour,
} from "./behaviours.js";

const delegations = 40;
const isSlow = process.env["SLOW"] === "1";

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
    liar.lie = wrongShares.lie;
    const startMs = Date.now();
    await until("the lying node is asked, and every signature is valid", async () => {
      await knot.beginSigning();
      expect(await knot.finishSigning()).to.be.greaterThan(delegations);
      return liar.answered > 0;
    });

    await until("the culprit is named", async () => {
      const { status } = await statusOf(cluster);
      return status.blames.some(({ verdict }) => verdict === "culprit");
    });
    const blame = await expectNamed(cluster, wrongShares, startMs);
    expect(liar.said).to.include.members([...blame.evidence]);

    for (const { culprits, evidence, quorum } of await namingResults(cluster, startMs)) {
      if (culprits === undefined) continue;
      expect(liar.said).to.include.members(evidence ?? []);
      expect(quorum).to.not.include(2);
    }
  });
});

if (isSlow) {
  const rounds = 2;
  const untoldMs = 1000;
  const delegationsToMeasure = 80;
  for (const [proofs, behaviours] of [
    ["on-failure", [wrongShares, ...others]],
    ["always", withProofs],
  ] as const) {
    describe(`Knot with a lying node, its key asking for share proofs ${proofs}`, function () {
      this.timeout(600_000);
      let cluster: TestCluster;
      let knot: Knot;
      let liar: Liar;

      before(async () => {
        cluster = await TestCluster.start();
        const client = await cluster.client();
        const wish = { token: "dns", label: "csk", modulusBits: 1024, policy: { proofs } };
        const key = await client.generateKey(wish);
        await client.close();
        const sizes = { kskSize: 1024, zskSize: 1024, delegations: delegationsToMeasure };
        knot = await Knot.create(cluster, { ...sizes, key });
        knot.start();
        await knot.finishSigning();
        await cluster.processes.stop("n2");
        liar = await Liar.start(cluster, key);
      });
      after(async () => {
        await liar.close();
        await cluster.close();
      });

      /** Signs all of the zone, and returns what was recorded after the first second: how many, how long. */
      async function sign(): Promise<{ count: number; ms: number }> {
        const isResult = (one: StoredMessage): boolean => bodyOf(one)["type"] === "result";
        const before = new Set((await readHistory(cluster)).filter(isResult).map(({ seq }) => seq));
        await knot.beginSigning();
        expect(await knot.finishSigning()).to.be.greaterThan(delegationsToMeasure);
        const results = (await readHistory(cluster)).filter(isResult);
        const times = results.flatMap(({ seq, time }) =>
          before.has(seq) ? [] : [Date.parse(time)],
        );
        const [first = 0] = times;
        const told = times.filter((ms) => ms >= first + untoldMs);
        return { count: told.length - 1, ms: (told.at(-1) ?? 0) - (told[0] ?? 0) };
      }

      /** Forgiven, and asked like any other, by a daemon that remembers no slowness of it. */
      async function heal(): Promise<void> {
        liar.lie = (who, _, honest) => who.say(honest);
        const cleared = await cluster.thsm("node", "clear", "n2");
        expect(cleared.code, cleared.text).to.equal(0);
        await cluster.kill("pkcs11d");
        await cluster.startDaemon();
        await until("n2 is asked again", async () => {
          const before = liar.answered;
          await sign();
          return liar.answered > before;
        });
      }

      function behave(behaviour: Behaviour): void {
        it(`signs its zone as fast with ${behaviour.name}, and all learn of it`, async () => {
          const startMs = Date.now();
          const healthy = { count: 0, ms: 0 };
          const hurt = { count: 0, ms: 0 };
          for (let round = 0; round < rounds; round++) {
            await heal();
            for (const [lie, sum] of [
              [liar.lie, healthy],
              [behaviour.lie, hurt],
            ] as const) {
              liar.lie = lie;
              const { count, ms } = await sign();
              sum.count += count;
              sum.ms += ms;
            }
          }
          const ratio = hurt.count / hurt.ms / (healthy.count / healthy.ms);
          const told = `${JSON.stringify(hurt)} and ${JSON.stringify(healthy)}`;
          expect(ratio, told).to.be.at.least(0.8);
          await until("the charge", async () => {
            const { status } = await statusOf(cluster);
            if (status.blames.length === 0) await sign();
            return status.blames.length > 0;
          });
          const blame = await expectNamed(cluster, behaviour, startMs);
          console.log(`        ${behaviour.name}: ${ratio.toFixed(2)} of healthy, ${blame.code}`);
        });
      }
      for (const one of behaviours) behave(one);
    });
  }
}
