/** @module Knot DNS signs a zone while one node of five lies: it does not notice, and everybody else does. */
import { expect } from "chai";
import { auditorConfigOf } from "../../../src/cli/dev/cluster.js";
import { clearNode, openHistory, type KeyInfo } from "../../../src/client/index.js";
import type { SigningResult } from "../../../src/streams/audit-events.js";
import type { StoredMessage } from "../../../src/streams/envelope.js";
import { TestCluster } from "../cluster.js";
import { bodyOf } from "../history.js";
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
import { compare, type Pace } from "./ratio.js";

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
  const goal = 0.8;
  const untoldMs = 1000;
  const delegationsToMeasure = 160;
  for (const [proofs, behaviours] of [
    ["on-failure", [wrongShares, ...others]],
    ["always", withProofs],
  ] as const) {
    describe(`Knot with a lying node, its key asking for share proofs ${proofs}`, function () {
      this.timeout(1_200_000);
      let cluster: TestCluster;
      let knot: Knot;
      let liar: Liar;
      let newest = 0;

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

      /** What came to THSM_AUDIT since the last call. */
      async function newEvents(): Promise<StoredMessage[]> {
        const history = await openHistory({ configFile: auditorConfigOf(cluster.dir) });
        const events: StoredMessage[] = [];
        for await (const entry of history.source.entries("THSM_AUDIT", newest + 1)) {
          if ("message" in entry) events.push(entry.message);
        }
        await history.close();
        newest = events.at(-1)?.seq ?? newest;
        return events;
      }

      /** Signs all of the zone, and returns how many signatures were recorded after the first second. */
      async function sign(): Promise<Pace> {
        await newEvents();
        await knot.beginSigning();
        expect(await knot.finishSigning()).to.be.greaterThan(delegationsToMeasure);
        const told = (await newEvents()).flatMap((event) => {
          const { type, signatures = [] } = bodyOf(event) as Partial<SigningResult>;
          return type === "result"
            ? [{ ms: Date.parse(event.time), signed: signatures.length }]
            : [];
        });
        const [first] = told;
        const [start, ...rest] = told.filter(({ ms }) => ms >= (first?.ms ?? 0) + untoldMs);
        return {
          count: rest.reduce((sum, { signed }) => sum + signed, 0),
          ms: (rest.at(-1)?.ms ?? 0) - (start?.ms ?? 0),
        };
      }

      /** Forgiven, and asked like any other, by a daemon that remembers no slowness of it. */
      async function heal(): Promise<void> {
        liar.lie = (who, _, honest) => who.say(honest);
        await clearNode(cluster.env["THSM_OPERATOR_CONFIG"] ?? "", "n2", "tried again");
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
          const { ratio, rounds } = await compare(goal, async () => {
            await heal();
            const healthy = await sign();
            liar.lie = behaviour.lie;
            return [healthy, await sign()];
          });
          const told = `${ratio.toFixed(2)} of healthy; by rounds ${rounds.join("; ")}`;
          console.log(`        ${behaviour.name}: ${told}`);
          expect(ratio, told).to.be.at.least(goal);
          await until("the charge", async () => {
            const { status } = await statusOf(cluster);
            if (status.blames.length === 0) await sign();
            return status.blames.length > 0;
          });
          await expectNamed(cluster, behaviour, startMs);
        });
      }
      for (const one of behaviours) behave(one);
    });
  }
}
