/** @module Nodes and the broker die again and again under load: every signature right, history clean. */
import { expect } from "chai";
import { createHash, randomInt, verify, type KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { HsmClient, KeyInfo, SigningSession } from "../../src/client/index.js";
import { describeError } from "../../src/errors.js";
import { TestCluster } from "./cluster.js";
import { publicKeyOf } from "./sign-loop.js";

const rounds = process.env["SLOW"] === undefined ? 10 : 50;
const inFlight = 6;

describe("a cluster under load", function () {
  this.timeout(rounds * 60_000);
  let cluster: TestCluster;
  let client: HsmClient;
  let key: KeyInfo;

  before(async () => {
    cluster = await TestCluster.start();
    client = await cluster.client();
    key = await client.generateKey({ token: "dns", label: "load", modulusBits: 1024 });
  });
  after(async () => {
    await client.close();
    await cluster.close();
  });

  /** Signs without a pause while `chaos` happens; returns how many signatures there were. */
  async function load(chaos: () => Promise<void>): Promise<number> {
    const session = await client.openSession("dns", "load");
    const publicKey = publicKeyOf(key);
    const failures: string[] = [];
    const over = new AbortController();
    let signatures = 0;
    const worker = async (name: number): Promise<void> => {
      for (let i = 0; !over.signal.aborted; i++) {
        const failure = await signOne(session, publicKey, `${name} ${i} ${rounds}`);
        if (failure === undefined) signatures++;
        else failures.push(failure);
        // A modest load: the machine has other things to do.
        await sleep(10);
      }
    };
    const workers = Array.from({ length: inFlight }, (_, name) => worker(name));
    try {
      await chaos();
    } finally {
      over.abort();
      await Promise.all(workers);
      await session.close();
    }
    expect(failures).to.deep.equal([]);
    return signatures;
  }

  async function signOne(
    session: SigningSession,
    publicKey: KeyObject,
    text: string,
  ): Promise<string | undefined> {
    const data = createHash("sha256").update(text).digest();
    const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
    try {
      const signature = await session.sign(input, { timeoutMs: 60_000 });
      return verify("sha256", Buffer.from(text), publicKey, signature)
        ? undefined
        : `wrong signature of ${text}`;
    } catch (error) {
      return describeError(error);
    }
  }

  async function expectCleanHistory(): Promise<void> {
    const { code, text } = await cluster.thsm("audit", "verify", "--notes");
    expect(code, text).to.equal(0);
  }

  it(`signs on while nodes are killed, ${rounds} times`, async () => {
    const signatures = await load(async () => {
      for (let round = 0; round < rounds; round++) {
        const node = `n${(round % 5) + 1}`;
        await sleep(randomInt(50, 600));
        await cluster.kill(node);
        await sleep(randomInt(0, 600));
        await cluster.startNode(node);
      }
    });
    expect(signatures).to.be.greaterThan(rounds);
    await expectCleanHistory();
  });

  it("signs on after the broker was killed, three times", async () => {
    await load(async () => {
      for (let round = 0; round < 3; round++) {
        await sleep(randomInt(200, 1000));
        await cluster.kill("nats");
        await sleep(randomInt(0, 1000));
        await cluster.up();
      }
      await sleep(1000);
    });
    await expectCleanHistory();
  });

  it("signs on when all nodes and the broker are killed at once", async () => {
    await load(async () => {
      await sleep(500);
      await Promise.all(["n1", "n2", "n3", "n4", "n5", "nats"].map((name) => cluster.kill(name)));
      await cluster.up();
      await sleep(1000);
    });
    await expectCleanHistory();
  });
});
