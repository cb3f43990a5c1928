/** @module One node of five lies: signing goes on as before, and everybody learns who it was, and by what. */
import { expect } from "chai";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type {
  ClusterStatus,
  HsmClient,
  KeyInfo,
  SigningSession,
} from "../../../src/client/index.js";
import { toBase64url } from "../../../src/identity/encoding.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { Liar, type Lie } from "../liar.js";
import { until } from "../until.js";

const inFlight = 16;
const phaseMs = 1000;
const isSlow = process.env["SLOW"] === "1";
const rounds = 2;
const wrong = toBase64url(Buffer.alloc(128, 5));

interface Behaviour {
  readonly name: string;
  readonly lie: Lie;
  /** What the client calls it; the first that is seen. */
  readonly codes: readonly string[];
  readonly isProven: boolean;
}

const always: Behaviour[] = [
  {
    name: "wrong shares",
    lie: (liar, _, honest) =>
      liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) }),
    codes: ["wrong-share", "wrong-proof"],
    isProven: true,
  },
  { name: "silence", lie: () => undefined, codes: ["silent"], isProven: false },
];
const slow: Behaviour[] = [
  {
    name: "wrong shares that it does not explain",
    lie: (liar, { kind }, honest) => {
      if (kind !== "explain")
        liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) });
    },
    codes: ["wrong-share"],
    isProven: true,
  },
  {
    name: "right shares past the stream, under numbers that it uses again",
    lie: (liar, _, honest) => liar.say(honest, { "Nats-Expected-Last-Sequence": "4000000000" }),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
  },
  {
    name: "slowness",
    lie: (liar, _, honest) => void setTimeout(() => liar.say(honest), 4000),
    codes: ["silent"],
    isProven: false,
  },
  {
    name: "a forged chain",
    lie: (liar, _, honest) =>
      liar.put(liar.sign(honest, { ...honest, n: 7_000_000, prev: "0".repeat(64) })),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
  },
  {
    name: "answers to other people's requests",
    lie: (liar, _, honest) => liar.say({ ...honest, request: "0".repeat(64) }),
    codes: ["wrong-answer"],
    isProven: false,
  },
  {
    name: "replays",
    lie: (liar, _, honest) => {
      if (liar.first !== undefined)
        liar.put({ ...liar.first, subject: liar.sign(honest, honest).subject });
    },
    codes: ["silent"],
    isProven: false,
  },
];
const withProofs: Behaviour[] = [
  {
    name: "right shares with wrong proofs",
    lie: (liar, _, honest) => liar.say({ ...honest, proofs: honest.shares ?? [] }),
    codes: ["wrong-proof"],
    isProven: true,
  },
  {
    name: "right shares without the proofs that are due",
    lie: (liar, _, { proofs: _none, ...rest }) => liar.say(rest),
    codes: ["wrong-proof"],
    isProven: true,
  },
];

describe("a lying node", function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let key: KeyInfo;
  let proven: KeyInfo;
  let client: HsmClient;
  let session: SigningSession;
  let liar: Liar;
  let count = 0;

  before(async () => {
    cluster = await TestCluster.start();
    key = await cluster.makeKey("k", 1024);
    client = await cluster.client();
    if (isSlow) {
      const policy = { proofs: "always" } as const;
      const wish = { token: "dns", label: "proven", modulusBits: 1024, policy };
      proven = await client.generateKey(wish);
    }
    await cluster.processes.stop("n2");
    liar = await Liar.start(cluster, key);
    session = await client.openSession("dns", "victim");
  });
  after(async () => {
    await client.close();
    await liar.close();
    await cluster.close();
  });

  /** Signatures in a span of time, with many in flight. None may fail. */
  async function signFor(ms: number): Promise<number> {
    const endMs = Date.now() + ms;
    let signed = 0;
    const sign = async (): Promise<void> => {
      while (Date.now() < endMs) {
        const data = createHash("sha256").update(`text ${++count}`).digest();
        await session.sign({ keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data });
        signed += 1;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, sign));
    return signed;
  }

  const status = async (): Promise<{ code: number; status: ClusterStatus }> => {
    const { code, stdout } = await cluster.thsm("--json", "status");
    return { code, status: JSON.parse(stdout.toString("utf8")) as ClusterStatus };
  };

  const honestly: Lie = (who, _, honest) => who.say(honest);

  /** Forgiven, and asked like any other, by a client that remembers no slowness of it. */
  async function heal(): Promise<void> {
    liar.lie = honestly;
    await client.close();
    expect((await cluster.thsm("node", "clear", "n2")).code).to.equal(0);
    client = await cluster.client();
    session = await client.openSession("dns", "victim");
    await until("n2 is asked again", async () => {
      const before = liar.answered;
      await signFor(300);
      return liar.answered > before;
    });
  }

  function behave({ name, lie, codes, isProven }: Behaviour): void {
    it(`with ${name}: signing goes on, status and evidence name it`, async () => {
      // By turns, so that whatever else the machine is busy with hits both alike.
      let [healthy, hurt] = [0, 0];
      for (let round = 0; round < rounds; round++) {
        await heal();
        healthy += await signFor(phaseMs);
        liar.lie = lie;
        await signFor(1000);
        hurt += await signFor(phaseMs);
      }
      expect(hurt / healthy, `${hurt} and ${healthy} signatures`).to.be.at.least(0.8);

      await until("the charge", async () => {
        await signFor(200);
        return (await status()).status.blames.some(({ node }) => node === "n2");
      });
      const { code, status: seen } = await status();
      expect(code).to.equal(3);
      expect(new Set(seen.blames.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
      const [blame] = seen.blames;
      expect(codes).to.include(blame?.code);
      expect(blame?.verdict).to.equal(isProven ? "culprit" : "suspect");
      expect(Date.parse(blame?.time ?? "")).to.be.closeTo(Date.now(), 200_000);

      const history = await readHistory(cluster);
      const event = history.find((one) => one.stream === "THSM_AUDIT" && one.seq === blame?.seq);
      if (event === undefined) throw new Error("no event");
      expect(bodyOf(event)).to.deep.include({ node: "n2", code: blame?.code });
      const file = cluster.path("evidence.json");
      await writeFile(file, event.payload);
      const judged = await cluster.thsm("audit", "evidence", file);
      if (isProven) expect(judged.code, judged.text).to.equal(0);
      else expect(judged.code, judged.text).to.be.oneOf([2, 3]);
    });
  }

  for (const one of isSlow ? [...always, ...slow] : always) behave(one);

  it("is shown as far as each role may see", async () => {
    const { THSM_CONFIG: asClient = "", THSM_AUDITOR_CONFIG: asAuditor = "" } = cluster.env;
    for (const [file, hasStreams] of [
      [asClient, false],
      [asAuditor, true],
    ] as const) {
      const { stdout } = await cluster.thsm("--json", "status", "--as", file);
      const seen = JSON.parse(stdout.toString("utf8")) as ClusterStatus;
      expect(seen.nodes.map(({ node }) => node)).to.deep.equal(["n1", "n2", "n3", "n4", "n5"]);
      expect(seen.keys.active).to.equal(isSlow ? 2 : 1);
      expect(seen.streams !== undefined).to.equal(hasStreams);
      expect(seen.nodes[0]?.latencyMs).to.be.a("number");
      expect(seen.nodes[0]?.lag !== undefined).to.equal(hasStreams);
    }
  });

  it("is not proven by a file without evidence, which says so", async () => {
    const file = cluster.path("nothing.json");
    for (const [text, expected] of [
      ["{}", 2],
      ["no JSON", 2],
    ] as const) {
      await writeFile(file, text);
      expect((await cluster.thsm("audit", "evidence", file)).code).to.equal(expected);
    }
    expect((await cluster.thsm("audit", "evidence", cluster.path("absent"))).code).to.equal(2);
    expect((await cluster.thsm("node", "clear", "n9")).text).to.match(/there is no node n9/);
  });

  if (isSlow) {
    describe("whose key asks for share proofs", () => {
      before(async () => {
        await liar.close();
        key = proven;
        liar = await Liar.start(cluster, key);
      });
      for (const one of withProofs) behave(one);
    });
  }
});
