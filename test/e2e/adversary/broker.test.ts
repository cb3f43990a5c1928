/**
 * @module A lying broker against a real 3-of-5 cluster: every class of manipulation on every kind of message,
 * told to nodes and client alike. Whatever it does, no signature is wrong or without its request on the
 * stream, every call ends in time with a code, and the truth alone makes all work again.
 */
import { expect } from "chai";
import { createHash, verify, type KeyObject } from "node:crypto";
import type { HsmClient, KeyInfo } from "../../../src/client/index.js";
import { HsmError } from "../../../src/errors.js";
import type { Lie } from "../../support/proxy.js";
import { bodyOf, readHistory } from "../history.js";
import { publicKeyOf } from "../sign-loop.js";
import { until } from "../until.js";
import { nodeNames, startBehindProxy, type BehindProxy } from "./behind-proxy.js";
import { aims, harmful, harmless, lying, pulls, sharesToClient, type Aim } from "./lies.js";

/** All of the table with SLOW=1; without it of each kind one that does no harm and two that do. */
const isSlow = process.env["SLOW"] === "1";
const quickly = new Set(["comes in another order", "is dropped", "comes with another byte"]);
const timeoutMs = isSlow ? 1200 : 700;
/** For the timers of a busy machine, on top of a call's own grace. */
const leewayMs = 3000;
const patienceMs = 60_000;

describe("a lying broker", function () {
  this.timeout(180_000);
  let place: BehindProxy;
  let client: HsmClient;
  let key: KeyInfo;
  let publicKey: KeyObject;
  let pids: (number | undefined)[];
  /** Hex digest → under which lie it was signed. */
  const signed = new Map<string, string>();
  const failures = new Map<string, number>();
  let texts = 0;

  const pidsNow = (): Promise<(number | undefined)[]> =>
    Promise.all(nodeNames.map((name) => place.cluster.processes.find(name)));

  before(async () => {
    place = await startBehindProxy();
    client = await place.cluster.client();
    key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
    publicKey = publicKeyOf(key);
    pids = await pidsNow();
  });
  after(async () => {
    await client.close();
    await place.close();
  });

  /** One signature: right, or an error with a code, in time. Undefined for a signature. */
  async function attempt(title: string, ms: number = timeoutMs): Promise<HsmError | undefined> {
    const text = Buffer.from(`text ${++texts}`);
    const data = createHash("sha256").update(text).digest();
    const startedAt = Date.now();
    const session = await client.openSession("dns", "victim");
    try {
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      const signature = await session.sign(input, { timeoutMs: ms });
      expect(verify("sha256", text, publicKey, signature), "the signature is right").to.equal(true);
      signed.set(data.toString("hex"), title);
      return undefined;
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      failures.set(error.code, (failures.get(error.code) ?? 0) + 1);
      return error;
    } finally {
      expect(Date.now() - startedAt, "the call ended in time").to.be.below(ms + leewayMs);
      // Nobody waits for a liar's acknowledgement of the closing.
      session.close().catch(() => undefined);
    }
  }

  async function tell(title: string, aim: Aim, lie: Lie): Promise<(HsmError | undefined)[]> {
    const count = { told: 0 };
    place.proxy.lie = lying(aim, lie, count);
    const outcomes: (HsmError | undefined)[] = [];
    try {
      for (let round = 0; round < 1 || count.told < 2; round++) {
        outcomes.push(...(await Promise.all([attempt(title), attempt(title)])));
        expect(round, "the lie was told").to.be.below(100);
      }
    } finally {
      place.proxy.lie = undefined;
    }
    return outcomes;
  }

  /** The broker is honest again: everything works, and nothing was started anew. */
  async function expectRecovery(title: string): Promise<void> {
    await until(
      "signing works again",
      async () => (await attempt(`after: ${title}`, 5000)) === undefined,
      patienceMs,
    );
    expect(await pidsNow()).to.deep.equal(pids);
  }

  const allowed = new Set([
    "ERR_QUORUM_NOT_REACHED",
    "ERR_BROKER_UNREACHABLE",
    "ERR_BROKER",
    "ERR_CONFLICT",
    "ERR_COMBINE_FAILED",
    "ERR_EXPIRED",
  ]);

  // Nobody asks the stream for what it holds while the live shares come.
  const asking = new Set(["questions for stored messages", "stored messages that were asked for"]);
  const isTried = (what: string): boolean => isSlow || quickly.has(what);

  for (const [name, aim] of Object.entries(aims)) {
    for (const [what, make] of Object.entries(harmless)) {
      if (!isTried(what)) continue;
      it(`${name}: each ${what}, and signing goes on`, async () => {
        const outcomes = await tell(`${name} ${what}`, aim, make());
        const codes = outcomes.map((error) => error?.message);
        expect(codes.filter((code) => code !== undefined)).to.deep.equal([]);
      });
    }
    for (const [what, make] of Object.entries(harmful)) {
      if (!isTried(what)) continue;
      if (what.includes("reply") && !/acknowledge|requests on their way/.test(name)) continue;
      it(`${name}: each ${what}, and nothing wrong comes of it`, async () => {
        const lie = make();
        const aimed: Aim = (packet, member) =>
          aim(packet, member) || (asking.has(name) && sharesToClient(packet, member));
        const outcomes = await tell(`${name} ${what}`, aimed, (packet, link) =>
          aim(packet, link.member) ? lie(packet, link) : [],
        );
        for (const error of outcomes) {
          if (error !== undefined) expect(allowed, error.message).to.include(error.code);
        }
        await expectRecovery(`${name} ${what}`);
      });
    }
  }

  it("has every signature's request on its stream", async () => {
    const inputs = new Set(
      (await readHistory(place.cluster))
        .filter(({ stream }) => stream === "THSM_REQ")
        .flatMap((message) => bodyOf(message)["inputs"] ?? []),
    );
    const missing = [...signed].filter(([digest]) => !inputs.has(digest));
    expect(missing).to.deep.equal([]);
    expect(signed.size).to.be.above(10);
    expect(failures.size).to.be.above(1);
  });

  if (isSlow) {
    it("nodes' questions for requests dropped for longer than they live: asked again", async () => {
      const count = { told: 0 };
      place.proxy.lie = lying(pulls, () => [], count);
      const deadline = Date.now() + 60_000;
      while (count.told < 10 && Date.now() < deadline) await attempt("pulls are dropped");
      expect(count.told).to.be.at.least(10);
      place.proxy.lie = undefined;
      await expectRecovery("pulls are dropped");
    });
  }
});
