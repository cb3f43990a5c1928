import { expect } from "chai";
import { QuorumError } from "../../src/errors.js";
import {
  connect,
  verifySignature,
  type HsmClient,
  type SigningSession,
} from "../../src/client/index.js";
import type { SignInput } from "../../src/client/api.js";
import { fromBase64url, toBase64url } from "../../src/identity/encoding.js";
import { readAuditEvent } from "../../src/streams/open.js";
import { StreamReader } from "../../src/streams/read.js";
import { streamNames } from "../../src/streams/subjects.js";
import { eventually, startCluster, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { activeKey, dealt, ScriptedNode, spoil } from "./scripted-node.js";

describe("signing through five nodes, three of which are enough", () => {
  let cluster: TestCluster;
  let nodes: ScriptedNode[];
  let client: HsmClient;
  let session: SigningSession;
  let keyId: string;
  let count = 0;

  before(async () => {
    cluster = await startCluster();
    keyId = await activeKey(cluster);
    nodes = await Promise.all([1, 2, 3, 4, 5].map((i) => new ScriptedNode(cluster, i).start()));
  });
  after(async () => {
    for (const node of nodes) node.stop();
    await cluster.stop();
  });
  beforeEach(async () => {
    for (const node of nodes) {
      node.behaviour = "sign";
      node.asked.length = 0;
    }
    client = await connect({ configFile: await cluster.clientConfig("alice") });
    session = await client.openSession("zones", "test");
  });
  afterEach(async () => {
    await client.close();
  });

  const input = (): SignInput => {
    const data = Buffer.alloc(32);
    data.writeUInt32BE(++count);
    return { keyId, encoding: "pkcs1v15", hash: "sha256", data };
  };
  async function expectSigned(timeoutMs?: number): Promise<void> {
    const what = input();
    const signature = await session.sign(what, timeoutMs === undefined ? {} : { timeoutMs });
    const [key] = await client.keys("zones");
    expect(key !== undefined && verifySignature(key, what, signature)).to.equal(true);
  }
  const nodeOf = (name: string): ScriptedNode => {
    const found = nodes.find((node) => node.name === name);
    if (found === undefined) throw new RangeError(name);
    return found;
  };
  /** What the client said last in its session. */
  async function lastEvent(): Promise<object | undefined> {
    const connection = await cluster.connect("alice");
    const subject = `thsm.v1.audit.client.alice.${session.id}`;
    const message = await new StreamReader(connection).last(streamNames.audit, subject);
    await connection.close();
    return message === undefined ? undefined : readAuditEvent(message);
  }

  it("asks three and signs", async () => {
    await expectSigned();
    expect(nodes.flatMap(({ asked }) => asked)).to.have.lengthOf(3);
  });

  it("puts concurrent wishes together, and gives each its own signature", async () => {
    await Promise.all(Array.from({ length: 50 }, () => expectSigned()));
    const rids = new Set(nodes.flatMap(({ asked }) => asked.map(({ rid }) => rid)));
    expect(rids.size).to.be.below(20);
  });

  it("signs with PSS, and refuses a salt that is none", async () => {
    const what = { ...input(), encoding: "pss" } as const;
    expect(await session.sign({ ...what, saltLength: 20 })).to.have.lengthOf(128);
    for (const saltLength of [-1, 65, 1.5, Number.NaN, 1e9]) {
      await failure(session.sign({ ...what, saltLength }), "ERR_INVALID_ARGUMENT");
    }
  });

  it("asks somebody else when a node is silent, and the silent one last from then on", async () => {
    nodeOf("n1").behaviour = "silent";
    nodeOf("n2").behaviour = "silent";
    for (let i = 0; i < 4; i++) await expectSigned(8000);
    nodeOf("n1").asked.length = 0;
    for (let i = 0; i < 5; i++) await expectSigned(8000);
    expect(nodeOf("n1").asked).to.have.lengthOf.below(3);
  }).timeout(20_000);

  it("asks somebody else when a node refuses", async () => {
    nodeOf("n1").behaviour = { refuse: "ERR_INTERNAL" };
    nodeOf("n2").behaviour = { refuse: "ERR_REFUSED_BY_POLICY" };
    for (let i = 0; i < 4; i++) await expectSigned();
  });

  it("signs with one liar among five and names him", async () => {
    nodeOf("n3").behaviour = { lie: spoil };
    for (let i = 0; i < 6; i++) await expectSigned();
    await session.close();
    expect(nodeOf("n3").asked).to.have.lengthOf.below(3);
  });

  it("signs with two liars among five", async () => {
    nodeOf("n1").behaviour = { lie: spoil };
    nodeOf("n4").behaviour = {
      lie: (shares) => shares.map(() => toBase64url(new Uint8Array(128))),
    };
    for (let i = 0; i < 4; i++) await expectSigned(5000);
  });

  for (const [what, lie] of Object.entries({
    "0": () => new Uint8Array(128),
    "1": () => Uint8Array.from({ length: 128 }, (_, i) => (i === 127 ? 1 : 0)),
    N: () =>
      fromBase64url(
        Buffer.from(dealt.group.modulus.toString(16), "hex").toString("base64url"),
        "N",
      ),
    "N-1": () => Buffer.from((dealt.group.modulus - 1n).toString(16), "hex"),
    "a short number": () => new Uint8Array(127).fill(1),
  })) {
    it(`blames a share of ${what} at once`, async () => {
      nodeOf("n2").behaviour = { lie: (shares) => shares.map(() => toBase64url(lie())) };
      nodeOf("n1").behaviour = { refuse: "ERR_INTERNAL" };
      nodeOf("n3").behaviour = { refuse: "ERR_INTERNAL" };
      const error = await failure(session.sign(input()), "ERR_QUORUM_NOT_REACHED");
      expect(error).to.be.instanceOf(QuorumError);
      const { answers } = error as QuorumError;
      expect(answers["n2"]).to.equal("wrong share");
    });
  }

  it("blames too few shares, too many, and another message's", async () => {
    const lies = [
      (shares: string[]) => shares.slice(1).concat(shares, shares),
      (shares: string[]) => shares.toReversed(),
    ];
    for (const lie of lies) {
      nodeOf("n5").behaviour = { lie };
      await Promise.all([expectSigned(5000), expectSigned(5000), expectSigned(5000)]);
    }
  });

  it("ends with the nodes' reason when all refuse", async () => {
    for (const node of nodes) node.behaviour = { refuse: "ERR_REFUSED_BY_POLICY" };
    const startedMs = Date.now();
    const error = await failure(session.sign(input()), "ERR_REFUSED_BY_POLICY");
    expect(error.message).to.include("the test says no");
    expect(Date.now() - startedMs).to.be.below(3000);
    await session.close();
  });

  it("ends at once when refusals and lies leave no quorum", async () => {
    for (const name of ["n1", "n2"]) nodeOf(name).behaviour = { refuse: "ERR_REFUSED_BY_POLICY" };
    nodeOf("n3").behaviour = { lie: (shares) => shares.map(() => "AA") };
    const startedMs = Date.now();
    const error = await failure(session.sign(input()), "ERR_QUORUM_NOT_REACHED");
    expect((error as QuorumError).answers).to.include({
      n1: "ERR_REFUSED_BY_POLICY",
      n2: "ERR_REFUSED_BY_POLICY",
      n3: "wrong share",
    });
    expect(Date.now() - startedMs).to.be.below(3000);
  });

  it("names the silent when fewer than three answer", async () => {
    for (const name of ["n1", "n2", "n3"]) nodeOf(name).behaviour = "silent";
    const error = await failure(
      session.sign(input(), { timeoutMs: 2800 }),
      "ERR_QUORUM_NOT_REACHED",
    );
    const { answers } = error as QuorumError;
    expect(answers).to.have.all.keys("n1", "n2", "n3");
    // One that was slow before may not have had its turn.
    expect(Object.values(answers).filter((one) => one === "silent")).to.have.lengthOf.at.least(2);
    expect(error.message).to.match(/^2 of 5 nodes .* 3 are needed \(n\d: silent/);
  });

  it("does not take answers to another request, of another key, or of a party not asked", async () => {
    const forgeries = [
      { request: "0".repeat(64) },
      { key: "f".repeat(32) },
      { party: 2 },
      { party: 31 },
      { epoch: 1 },
      { node: "n2" },
      { kind: "shares", shares: undefined },
    ];
    for (const forgery of forgeries) {
      nodeOf("n1").behaviour = { forge: (body) => ({ ...body, ...forgery }) };
      await expectSigned(8000);
    }
  }).timeout(30_000);

  it("fetches an answer that its subscription missed", async () => {
    for (const node of nodes) node.behaviour = { delayMs: 600 };
    const signing = expectSigned(15_000);
    await eventually(
      "the request",
      () => nodes.flatMap(({ asked }) => asked).length >= 3 || undefined,
    );
    await cluster.server.kill();
    await cluster.server.restart();
    await signing;
  }).timeout(30_000);

  it("signs on when the broker is killed in the middle", async () => {
    for (const node of nodes) node.behaviour = { delayMs: 50 };
    const signing = Array.from({ length: 150 }, () => expectSigned(20_000));
    await signing[0];
    await cluster.server.kill();
    expect(await eventually("the loss", () => !client.connected || undefined)).to.equal(true);
    await cluster.server.restart();
    await Promise.all(signing);
    await eventually("NATS", () => client.connected || undefined);
  }).timeout(30_000);

  it("ends by its deadline with NATS down, and leaves no gap in the record afterwards", async () => {
    await expectSigned();
    await cluster.server.kill();
    await eventually("the loss", () => !client.connected || undefined);
    const startedMs = Date.now();
    await failure(session.sign(input(), { timeoutMs: 700 }), "ERR_BROKER_UNREACHABLE");
    await failure(
      session.sign({ ...input(), keyId: "0".repeat(32) }, { timeoutMs: 500 }),
      "ERR_DEADLINE",
    );
    expect(Date.now() - startedMs).to.be.below(2500);
    await cluster.server.restart();
    await eventually("NATS", () => client.connected || undefined);
    await expectSigned(10_000);
    await session.close();
    const numbers = new Set(nodes.flatMap(({ asked }) => asked.map(({ seq }) => seq)));
    expect(await lastEvent()).to.include({ type: "session-closed", requests: numbers.size });
    expect(Math.max(...numbers)).to.equal(numbers.size);
  }).timeout(30_000);

  it("stops for the caller's signal, keeping no listener", async () => {
    for (const node of nodes) node.behaviour = "silent";
    const abort = new AbortController();
    let listeners = 0;
    const { signal } = abort;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    const stopped = session.sign(input(), { signal });
    setTimeout(() => abort.abort(), 50);
    await failure(stopped, "ERR_ABORTED");
    await failure(session.sign(input(), { signal }), "ERR_ABORTED");
    const kept = new AbortController();
    for (const node of nodes) node.behaviour = "sign";
    await session.sign(input(), { signal: kept.signal });
    expect(listeners).to.be.at.most(1);
  });

  it("keeps a short deadline although the call travels with a patient one", async () => {
    for (const node of nodes) node.behaviour = "silent";
    const narrow = await connect({ configFile: await cluster.clientConfig("bob", "window = 1") });
    const one = await narrow.openSession("zones", "test");
    const patient = one.sign(input(), { timeoutMs: 3000 });
    patient.catch(() => undefined);
    await eventually("the request", () => nodes.some(({ asked }) => asked.length > 0) || undefined);
    const startedMs = Date.now();
    await failure(one.sign(input(), { timeoutMs: 400 }), "ERR_DEADLINE");
    expect(Date.now() - startedMs).to.be.below(1000);
    await narrow.close();
    await failure(patient, "ERR_ABORTED");
  });

  it("closes the session's runs before its closing, and itself at once", async () => {
    for (const node of nodes) node.behaviour = "silent";
    const signing = session.sign(input(), { timeoutMs: 20_000 });
    signing.catch(() => undefined);
    await eventually("the request", () => nodes.some(({ asked }) => asked.length > 0) || undefined);
    await client.close();
    await failure(signing, "ERR_ABORTED");
    expect(await lastEvent()).to.include({ type: "session-closed" });
    await failure(session.sign(input()), "ERR_INVALID_ARGUMENT");
    await failure(client.keys("zones"), "ERR_ABORTED");
  });
});
