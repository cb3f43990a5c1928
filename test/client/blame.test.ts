import { expect } from "chai";
import { connect, type HsmClient, type KeyInfo } from "../../src/client/index.js";
import { weigh } from "../../src/client/audit/evidence.js";
import { messagesOf } from "../../src/client/audit/blames.js";
import { NodeHealth } from "../../src/client/node-health.js";
import { Ledger, readLedger, type Standing } from "../../src/client/blame/ledger.js";
import { verifySignature } from "../../src/client/verify.js";
import type { Logger } from "../../src/log.js";
import type { SigningResult } from "../../src/streams/audit-events.js";
import { signMessage } from "../../src/streams/envelope.js";
import { readAuditEvent } from "../../src/streams/open.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import { formatSubject, storedSubject, streamNames } from "../../src/streams/subjects.js";
import { eventually, startCluster, type TestCluster } from "../support/cluster.js";
import { activeKey, ScriptedNode, spoil, type Behaviour } from "./scripted-node.js";

describe("a lying node among five", function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let nodes: ScriptedNode[];
  let keyId: string;
  let proven: string;
  let reader: StreamReader;
  /** Results on record that name nodes. */
  const naming: SigningResult[] = [];
  let count = 0;
  const said: string[] = [];
  const keep = (facts: object, event: string): void =>
    void said.push(`${event} ${JSON.stringify(facts)}`);
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };

  before(async () => {
    cluster = await startCluster();
    keyId = await activeKey(cluster);
    proven = await activeKey(cluster, "always");
    nodes = await Promise.all([1, 2, 3, 4, 5].map((i) => new ScriptedNode(cluster, i).start()));
    const connection = await cluster.connect("alice");
    reader = new StreamReader(connection);
    connection.subscribe(storedSubject("thsm.v1.audit.client.>"), {
      callback: (_, { data }) => {
        const body = JSON.parse(new TextDecoder().decode(data)) as SigningResult;
        if ([body.culprits, body.suspects, body.evidence].some(Boolean)) naming.push(body);
      },
    });
  });
  after(async () => {
    for (const node of nodes) node.stop();
    await cluster.stop();
  });
  beforeEach(async () => {
    for (const node of nodes) {
      Object.assign(node, { behaviour: "sign", proves: false, isPastStream: false });
      node.asked.length = 0;
    }
    said.length = 0;
    await clear();
  });

  const nodeOf = (party: number): ScriptedNode => {
    const node = nodes[party - 1];
    if (node === undefined) throw new RangeError(String(party));
    return node;
  };
  /** Every node is cleared, so that each test begins with none that is avoided. */
  async function clear(): Promise<void> {
    const connection = await cluster.connect("op");
    const publisher = new Publisher(connection, new StreamReader(connection), "op");
    for (const { name: node } of nodes) {
      const subject = formatSubject({ kind: "clear", operator: "op", node });
      const body = { version: 1, type: "node-cleared", operator: "op", node };
      const time = new Date().toISOString();
      const event = { ...body, time };
      await publisher.publish(signMessage(cluster.key("op"), streamNames.audit, subject, event));
    }
    publisher.close();
    await connection.close();
  }

  const open = async (name = "alice"): Promise<HsmClient> =>
    await connect({ configFile: await cluster.clientConfig(name), log });

  async function sign(client: HsmClient, times: number, key = keyId): Promise<void> {
    const session = await client.openSession("zones", "test");
    const [info] = (await client.keys("zones")).filter((one: KeyInfo) => one.keyId === key);
    for (let i = 0; i < times; i++) {
      const data = Buffer.alloc(32);
      data.writeUInt32BE(++count);
      const input = { keyId: key, encoding: "pkcs1v15", hash: "sha256", data } as const;
      const signature = await session.sign(input, { timeoutMs: 30_000 });
      expect(info !== undefined && verifySignature(info, input, signature)).to.equal(true);
    }
    await session.close();
  }

  async function standings(node: string): Promise<Standing[]> {
    const ledger = new Ledger(cluster.cluster);
    await readLedger(ledger, cluster.cluster, reader);
    return ledger.of(node);
  }

  /** Lets n3 lie until it is charged, and returns the charge as the stream has it. The result names it, too. */
  async function charged(behaviour: Behaviour, key = keyId, isInResult = true): Promise<Standing> {
    nodeOf(3).behaviour = behaviour;
    naming.length = 0;
    const client = await open();
    try {
      await eventually(
        "the charge",
        async () => {
          await sign(client, 1, key);
          return (await standings("n3"))[0] !== undefined || undefined;
        },
        30_000,
      );
    } finally {
      await client.close();
    }
    for (const honest of ["n1", "n2", "n4", "n5"]) {
      expect(await standings(honest), said.join("\n")).to.deep.equal([]);
    }
    const [standing] = await standings("n3");
    if (standing === undefined) throw new Error("no charge");
    const { verdict, evidence = [] } = standing.body;
    if (isInResult) {
      const isShown = (one: SigningResult): boolean =>
        evidence.every((hash) => one.evidence?.includes(hash));
      const result = await eventually("the result", () => naming.find(isShown));
      expect(result).to.deep.include(
        verdict === "culprit" ? { culprits: ["n3"] } : { suspects: ["n3"] },
      );
      expect(evidence.length).to.be.above(0);
    }
    for (const { culprits = [], suspects = [] } of naming) {
      expect([...culprits, ...suspects]).to.deep.equal(["n3"]);
    }
    return standing;
  }

  const lie: Behaviour = { lie: spoil };

  it("is proven guilty by share proofs of the others, though it explains nothing", async () => {
    const standing = await charged({
      lie: (shares, request) => {
        if (request.kind === "explain") throw new Error("says nothing");
        return spoil(shares);
      },
    });
    expect(standing.verdict).to.equal("culprit");
    expect(standing.body).to.include({
      node: "n3",
      code: "wrong-share",
      client: "alice",
      party: 3,
    });
    expect(standing.body.text).to.match(/as the share proofs of 3 other nodes show/);
  });

  it("is proven guilty by its own explanation", async () => {
    const standing = await charged(lie);
    expect(standing.verdict).to.equal("culprit");
    expect(standing.body.code).to.equal("wrong-proof");
  });

  it("is proven guilty when it takes its share back", async () => {
    const standing = await charged({
      lie: (shares, request) => (request.kind === "explain" ? shares : spoil(shares)),
    });
    expect(standing.body.text).to.match(/two different shares/);
  });

  it("is proven guilty by numbers that are no shares, and by too many of them", async () => {
    const none = await charged({ lie: (shares) => shares.map(() => "AA") });
    expect(none.body).to.include({ verdict: "culprit", code: "wrong-share" });
    await clear();
    const many = await charged({ lie: (shares) => [...shares, ...shares] });
    expect(many.body).to.include({ verdict: "culprit", code: "wrong-terms" });
  });

  it("is proven guilty by a chain that forks or does not hold", async () => {
    const fork = await charged({ forge: (body) => ({ ...body, n: 4_000_000 }) });
    expect(fork.body).to.include({ verdict: "culprit", code: "chain-fork" });
    await clear();
    const broken = await charged({ forge: (body) => ({ ...body, prev: "0".repeat(64) }) });
    expect(broken.body).to.include({ verdict: "culprit", code: "chain-broken" });
  });

  it("is a suspect when its answers belong to something else, and when they are not stored", async () => {
    const other = await charged({ forge: (body) => ({ ...body, request: "0".repeat(64) }) });
    expect(other).to.include({ verdict: "suspect" });
    expect(other.body.code).to.equal("wrong-answer");
    await clear();
    nodeOf(3).isPastStream = true;
    // It turns out when the result is on record.
    const missing = await charged("sign", keyId, false);
    expect(missing.verdict).to.equal("suspect");
    expect(missing.body.code).to.equal("not-stored");
    expect(missing.body.messages).to.have.lengthOf(2);
  });

  it("is a suspect when it lives and does not answer, by the request that it left", async () => {
    const gaveUp = Reflect.get(NodeHealth.prototype, "gaveUp");
    // Told at the first time, and not at the third in a row, between which it rests for seconds.
    NodeHealth.prototype.gaveUp = function (node, ...rest) {
      return gaveUp.call(this, node, ...rest) || node === "n3";
    };
    try {
      const { verdict, body } = await charged("silent");
      expect({ verdict, code: body.code }).to.deep.equal({ verdict: "suspect", code: "silent" });
      const [request] = messagesOf(body);
      expect(request?.stream).to.equal("THSM_REQ");
      expect([request?.hash]).to.deep.equal(body.evidence);
    } finally {
      NodeHealth.prototype.gaveUp = gaveUp;
    }
  });

  // Grace, charge and withdrawal take their seconds.
  if (process.env["SLOW"] === "1") {
    it("is a suspect no more when its missing shares turn up", async () => {
      const three = nodeOf(3);
      three.withheld.length = 0;
      three.isPastStream = true;
      const client = await open();
      try {
        await eventually(
          "the charge",
          async () => {
            await sign(client, 1);
            return (await standings("n3"))[0] !== undefined || undefined;
          },
          30_000,
        );
        for (const message of three.withheld) await three.publisher.publish(message);
        const lifted = async (): Promise<true | undefined> =>
          (await standings("n3")).length === 0 || undefined;
        await eventually("the withdrawal", lifted, 30_000);
        three.isPastStream = false;
        three.asked.length = 0;
        await eventually("it is asked again", async () => {
          await sign(client, 3);
          return three.asked.length > 0 || undefined;
        });
      } finally {
        await client.close();
      }
    });
  }

  it("is avoided by every client, also by one that starts later, until an operator clears it", async () => {
    const bob = await open("bob");
    let late: HsmClient | undefined;
    try {
      await sign(bob, 1);
      await charged(lie);
      nodeOf(3).behaviour = "sign";
      await eventually("bob learns of it", async () => {
        nodeOf(3).asked.length = 0;
        await sign(bob, 4);
        return nodeOf(3).asked.length === 0 || undefined;
      });
      late = await open();
      nodeOf(3).asked.length = 0;
      await sign(late, 12);
      // Not for those who are late either: whom-to-ask.test.ts.
      expect(nodeOf(3).asked, said.join("\n")).to.deep.equal([]);
      nodeOf(1).behaviour = { delayMs: 1500 };
      nodeOf(2).behaviour = { delayMs: 1500 };
      await sign(late, 2);
      expect(nodeOf(3).asked, said.join("\n")).to.deep.equal([]);
      nodeOf(3).asked.length = 0;
      // Without it there is no quorum: it is asked, and its right share counts.
      nodeOf(1).behaviour = { refuse: "ERR_INTERNAL" };
      nodeOf(2).behaviour = { refuse: "ERR_INTERNAL" };
      await sign(late, 1);
      expect(nodeOf(3).asked).to.have.lengthOf.at.least(1);
      nodeOf(1).behaviour = "sign";
      nodeOf(2).behaviour = "sign";
      nodeOf(3).asked.length = 0;
      await clear();
      await eventually("it is asked again", async () => {
        if (late !== undefined) await sign(late, 3);
        return nodeOf(3).asked.length > 0 || undefined;
      });
    } finally {
      await late?.close();
      await bob.close();
    }
  });

  it("cannot be made one by a client that blames without proof", async () => {
    const { body } = await charged(lie);
    await clear();
    const connection = await cluster.connect("bob");
    const publisher = new Publisher(connection, new StreamReader(connection), "bob");
    const say = async (node: string, more: object): Promise<void> => {
      const subject = formatSubject({ kind: "blame", client: "bob", node });
      const time = new Date().toISOString();
      const event = Object.assign({}, body, { client: "bob", node, time }, more);
      await publisher.publish(signMessage(cluster.key("bob"), streamNames.audit, subject, event));
    };
    // The evidence against n3 proves nothing against n4, none at all against n5.
    await say("n4", {});
    await say("n5", { messages: undefined });
    publisher.close();
    const alice = await open();
    await sign(alice, 15);
    expect(nodeOf(4).asked.length * nodeOf(5).asked.length).to.be.above(0);
    await alice.close();
    expect((await standings("n4"))[0]?.verdict).to.equal("suspect");
  });

  it("cannot be helped by a client that keeps others busy with false evidence", async () => {
    const { body } = await charged(lie);
    let nowMs = 0;
    const ledger = new Ledger(cluster.cluster, () => nowMs);
    let seq = 0;
    const say = (messages: object[] | undefined, isOurs = false): void => {
      const subject = formatSubject({ kind: "blame", client: "bob", node: "n3" });
      const event = Object.assign({}, body, { client: "bob", messages });
      const message = signMessage(cluster.key("bob"), streamNames.audit, subject, event);
      ledger.apply({ ...message, seq: ++seq, time: "" }, isOurs);
    };
    const verdict = (): string => `${ledger.of("n3")[0]?.verdict} ${ledger.of("n3")[0]?.seq}`;
    const right = [...(body.messages ?? [])];
    say(right.slice(1));
    expect(verdict()).to.equal("suspect 1");
    nowMs = 59_999;
    say(right);
    expect(verdict()).to.equal("suspect 1");
    nowMs = 60_000;
    say(right.slice(1));
    expect(verdict()).to.equal("suspect 3");
    nowMs = 179_999;
    say(right);
    expect(verdict()).to.equal("suspect 3");
    nowMs = 180_000;
    say(right);
    expect(verdict()).to.equal("culprit 5");
    // Nor with one that does prove something, shown again and again; its own is known at once.
    say(right);
    expect(verdict()).to.equal("culprit 5");
    say(right, true);
    expect(verdict()).to.equal("culprit 7");
    nowMs += 60_000;
    say(right);
    expect(verdict()).to.equal("culprit 8");
  });

  it("cannot make a guilty one of messages that are altered, cut or of another key", async () => {
    const { body } = await charged(lie);
    const messages = messagesOf(body);
    const { guilt, key, text } = weigh(cluster.cluster, "n3", messages);
    expect({ guilt, key }, text).to.deep.equal({ guilt: "wrong-proof", key: keyId });
    for (const [index, message] of messages.entries()) {
      const payload = Buffer.from(message.payload);
      payload[payload.length - 3] = (payload.at(-3) ?? 0) ^ 1;
      const altered = messages.with(index, { ...message, payload });
      expect(weigh(cluster.cluster, "n3", altered).guilt, String(index)).to.equal(undefined);
    }
    for (const stream of ["THSM_KEY", "THSM_REQ"]) {
      const cut = messages.filter((one) => one.stream !== stream);
      expect(weigh(cluster.cluster, "n3", cut).guilt, stream).to.equal(undefined);
    }
    expect(weigh(cluster.cluster, "n1", messages).guilt).to.equal(undefined);
    expect(weigh(cluster.cluster, "n3", []).guilt).to.equal(undefined);
  });

  describe("with a key that asks for proofs always", () => {
    beforeEach(() => {
      for (const node of nodes) node.proves = true;
    });

    it("signs when all proofs hold", async () => {
      const client = await open();
      await sign(client, 3, proven);
      await client.close();
      expect(said.join()).to.not.match(/culprit|suspect/);
    });

    it("is guilty of a right share without its proof, or with a wrong one", async () => {
      nodeOf(3).proves = false;
      const bare = await charged("sign", proven);
      expect(bare.body).to.include({ verdict: "culprit", code: "wrong-proof" });
      await clear();
      nodeOf(3).proves = true;
      const wrong = await charged(
        { forge: (body) => ({ ...body, proofs: spoil((body as { proofs: string[] }).proofs) }) },
        proven,
      );
      expect(wrong.body).to.include({ verdict: "culprit", code: "wrong-proof" });
      expect(wrong.body.text).to.match(/does not hold/);
    });
  });

  it("is not taken for one by an audit event on a subject of another kind", () => {
    const event = { version: 1, type: "misbehaviour", client: "alice", node: "n3", code: "silent" };
    const time = new Date().toISOString();
    const body = { ...event, verdict: "suspect", text: "", time };
    for (const subject of [
      { kind: "node-audit", node: "n3" },
      { kind: "blame", client: "alice", node: "n2" },
    ] as const) {
      const message = signMessage(cluster.key("alice"), "THSM_AUDIT", formatSubject(subject), body);
      expect(() => readAuditEvent(message)).to.throw();
    }
  });
});
