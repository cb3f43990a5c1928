import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { toBase64url } from "../../src/identity/encoding.js";
import { KeyStore } from "../../src/node/key-store.js";
import { serializeKeyShare } from "../../src/scheme/index.js";
import type { KeyProposed, KeyRejected } from "../../src/streams/keys.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import { testKey } from "../support/keys.js";
import { eventually } from "./eventually.js";
import { timeFromNow, type FakeClient, type ProposedKey } from "./fake-client.js";
import { startHarness, startServing, type Harness, type NodeProcess } from "./harness.js";

const dealt = testKey(1024);
const share = (party: number): Uint8Array => {
  const found = dealt.shares[party - 1];
  if (found === undefined) throw new Error(`no party ${party}`);
  return serializeKeyShare(found, dealt.group);
};

describe("enrolment", function () {
  this.timeout(20_000);
  let harness: Harness;
  let alice: FakeClient;
  let eve: FakeClient;
  let config: string;
  let node: NodeProcess;

  before(async () => {
    harness = await startHarness();
    alice = await harness.client("alice");
    eve = await harness.client("eve");
    config = await harness.configure("n1");
    node = await startServing(config);
  });
  after(() => harness.stop());

  const filesOf = async (key: string): Promise<string[]> =>
    (await readdir(join(harness.dataDir("n1"), "keys"))).filter((name) => name.includes(key));
  /** Resolves when everything published so far has been dealt with. */
  const settled = async (): Promise<void> => {
    const marker = await alice.propose(dealt);
    await alice.event(marker.id, "n1", "ready");
    await alice.decide("abandoned", marker);
    await alice.event(marker.id, "n1", "erased");
  };
  const typesOf = async (key: string): Promise<string[]> =>
    (await alice.events(key)).filter((event) => "node" in event).map(({ type }) => type);

  it("stores a share that nobody else can read", async () => {
    const { id } = await alice.establish(dealt, ["n1"]);
    const path = join(harness.dataDir("n1"), "keys", `${id}.share`);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    expect((await stat(join(harness.dataDir("n1"), "secret"))).mode & 0o777).to.equal(0o600);
    const plain = Buffer.from(share(1));
    for (const name of await allFiles(harness.dataDir("n1"))) {
      const bytes = await readFile(name);
      const secret = plain.subarray(-32);
      for (const form of ["latin1", "hex", "base64", "base64url"] as const) {
        expect(bytes.includes(secret.toString(form), 0, "latin1"), `${name} ${form}`).to.equal(
          false,
        );
      }
    }
    expect(node.output()).to.not.contain(toBase64url(plain.subarray(-32)).slice(0, 20));
  });

  describe("rejects", () => {
    const records: [string, string, () => Partial<KeyProposed>][] = [
      ["a modulus that is none", "ERR_INVALID_MESSAGE", () => ({ modulus: "AAAA" })],
      ["a threshold of half", "ERR_INVALID_MESSAGE", () => ({ threshold: 1 })],
      ["a later epoch", "ERR_UNSUPPORTED_MECHANISM", () => ({ epoch: 1 })],
      ["a proposal from the future", "ERR_EXPIRED", () => ({ time: timeFromNow(60_000) })],
      ["one that never expires", "ERR_EXPIRED", () => ({ expires: timeFromNow(200_000) })],
    ];
    for (const [what, code, changes] of records) {
      it(what, async () => {
        const { id } = await alice.propose(dealt, changes());
        const event: KeyRejected = await alice.event(id, "n1", "rejected");
        expect(event.code).to.equal(code);
        expect(await filesOf(id)).to.deep.equal([]);
      });
    }

    const dealings: [string, () => { plain?: Uint8Array }][] = [
      ["another party's share", () => ({ plain: share(2) })],
      [
        "a share with one bit changed",
        () => ({ plain: share(1).with(135, (share(1)[135] ?? 0) ^ 1) }),
      ],
      ["a share of zero", () => ({ plain: share(1).map((byte, i) => (i < 8 ? byte : 0)) })],
      ["no share at all", () => ({ plain: new Uint8Array(3) })],
      [
        "another party's secret under its number",
        () => ({ plain: share(2).map((byte, i) => (i === 5 ? 1 : byte)) }),
      ],
    ];
    for (const [what, changes] of dealings) {
      it(what, async () => {
        const proposed = await alice.propose(dealt);
        await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"), changes());
        const event = await alice.event(proposed.id, "n1", "rejected");
        expect(event.code).to.equal("ERR_INVALID_KEY_SHARE");
        expect(await filesOf(proposed.id)).to.deep.equal([]);
        // Final: a right share comes too late.
        await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
        await settled();
        expect(await typesOf(proposed.id)).to.deep.equal(["ready", "rejected"]);
      });
    }
  });

  describe("ignores", () => {
    it("a share from another client", async () => {
      const proposed = await alice.propose(dealt);
      const ready = await alice.event(proposed.id, "n1", "ready");
      await eve.deal(proposed, ready);
      await eve.deal(proposed, ready, { client: "alice" });
      await settled();
      expect(await typesOf(proposed.id)).to.deep.equal(["ready"]);
      await alice.deal(proposed, ready);
      await alice.event(proposed.id, "n1", "accepted");
    });

    it("a share of another proposal, and another party's", async () => {
      const proposed = await alice.propose(dealt);
      const ready = await alice.event(proposed.id, "n1", "ready");
      await alice.deal(proposed, ready, { proposal: "0".repeat(64) });
      await alice.deal(proposed, ready, { party: 2 });
      await settled();
      expect(await typesOf(proposed.id)).to.deep.equal(["ready"]);
    });

    it("a proposal for a token that the client has not", async () => {
      const { id } = await eve.propose(dealt);
      await settled();
      expect(await typesOf(id)).to.deep.equal([]);
    });

    it("a record that contradicts itself or the cluster", async () => {
      const records: Partial<KeyProposed>[] = [
        { verificationKeys: [toBase64url(new Uint8Array(128).fill(2))] },
        { parties: ["n1", "n2", "n9"] },
        { minimum: 1 },
      ];
      for (const record of records) {
        const { id } = await alice.propose(dealt, record);
        await settled();
        expect(await typesOf(id)).to.deep.equal([]);
      }
    });

    it("a proposal that was made long ago, or without it", async () => {
      const old = await alice.propose(dealt, { time: timeFromNow(-200_000) });
      const others = await alice.propose(dealt, {
        parties: ["n2", "n3"],
        verificationKeys: ["AQ"],
      });
      await settled();
      expect(await typesOf(old.id)).to.deep.equal([]);
      expect(await typesOf(others.id)).to.deep.equal([]);
    });

    it("the end of a key by a client without its token", async () => {
      const proposed = await alice.establish(dealt, ["n1"]);
      await eve.decide("destroyed", proposed);
      await eve.decide("abandoned", proposed);
      // A key that signs is destroyed, not abandoned.
      await alice.decide("abandoned", proposed);
      await settled();
      expect(await filesOf(proposed.id)).to.have.length(1);
      expect((await alice.ask(proposed.id)).share.kind).to.equal("shares");
    });
  });

  describe("of a key whose dealer is gone", () => {
    before(async () => {
      await node.kill();
      node = await startServing(await harness.configure("n1", "clockToleranceMs = 0"));
    });
    after(async () => {
      await node.kill();
      node = await startServing(await harness.configure("n1"));
    });

    it("withdraws when the proposal has expired, then erases its share", async () => {
      const proposed = await alice.propose(dealt, { expires: timeFromNow(2500) });
      await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
      await alice.event(proposed.id, "n1", "accepted");
      expect(await filesOf(proposed.id)).to.have.length(1);
      const { code } = await alice.event(proposed.id, "n1", "rejected");
      expect(code).to.equal("ERR_EXPIRED");
      await alice.event(proposed.id, "n1", "erased");
      expect(await filesOf(proposed.id)).to.deep.equal([]);
      expect((await alice.ask(proposed.id)).share.code).to.equal("ERR_KEY_NOT_ACTIVE");
    });

    it("does the same when it was away meanwhile", async () => {
      const proposed = await alice.propose(dealt, { expires: timeFromNow(2500) });
      await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
      await alice.event(proposed.id, "n1", "accepted");
      await node.kill();
      await sleep(2500);
      node = await startServing(config);
      await alice.event(proposed.id, "n1", "erased");
      expect(await filesOf(proposed.id)).to.deep.equal([]);
    });

    it("keeps its share when the key was activated in time", async () => {
      const proposed = await alice.establish(dealt, ["n1"], { expires: timeFromNow(2500) });
      await sleep(2500);
      await node.kill();
      node = await startServing(config);
      expect((await alice.ask(proposed.id)).share.kind).to.equal("shares");
    });
  });

  describe("after a crash", () => {
    it("between ready and accepted, asks for the share again", async () => {
      const proposed = await alice.propose(dealt);
      const first = await alice.event(proposed.id, "n1", "ready");
      await node.kill();
      await alice.deal(proposed, first);
      node = await startServing(config);
      const second = await alice.event(proposed.id, "n1", "ready", 2);
      expect(second.sealingKey).to.not.equal(first.sealingKey);
      await alice.deal(proposed, second);
      await alice.event(proposed.id, "n1", "accepted");
    });

    it("erases what was destroyed meanwhile before it signs anything", async () => {
      const proposed = await alice.establish(dealt, ["n1"]);
      const abandoned = await alice.propose(dealt);
      await alice.deal(abandoned, await alice.event(abandoned.id, "n1", "ready"));
      await alice.event(abandoned.id, "n1", "accepted");
      await node.kill();
      const request = alice.request(proposed.id);
      await alice.send(request);
      await alice.decide("destroyed", proposed);
      await alice.decide("abandoned", abandoned);
      node = await startServing(config);
      expect(await filesOf(proposed.id)).to.deep.equal([]);
      expect(await filesOf(abandoned.id)).to.deep.equal([]);
      await alice.event(abandoned.id, "n1", "erased");
      await alice.event(proposed.id, "n1", "erased");
      const answer = await eventually("the answer", () => alice.answerOf("n1", request));
      expect(answer.share.code).to.equal("ERR_KEY_NOT_ACTIVE");
      const chain = await harness.chainOf("n1");
      const numberOf = (hash: string | undefined): number =>
        chain.find(({ message }) => message.hash === hash)?.n ?? 0;
      const erased = chain.findLast(({ message }) => message.subject.includes(proposed.id));
      expect(numberOf(answer.message.hash)).to.be.greaterThan(erased?.n ?? Infinity);
    });

    it("before its word was on record, does not accept a second time in other words", async () => {
      const proposed = await alice.propose(dealt);
      await alice.event(proposed.id, "n1", "ready");
      await node.kill();
      const { id: key, proposal } = proposed;
      const store = await KeyStore.open(harness.dataDir("n1"));
      await store.save({ key, epoch: 0, party: 1, proposal }, share(1));
      const body = { version: 1, type: "accepted", key, node: "n1", party: 1, proposal };
      const subject = formatSubject({ kind: "key", key });
      await harness.journal("n1", streamNames.keys, subject, { ...body, time: timeFromNow() });
      node = await startServing(config);
      await settled();
      expect(await typesOf(key)).to.deep.equal(["ready", "accepted"]);
    });

    it("says what it still owes", async () => {
      const proposed: ProposedKey = await alice.propose(dealt);
      await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
      await alice.event(proposed.id, "n1", "accepted");
      await node.stop();
      node = await startServing(config);
      await settled();
      expect(await typesOf(proposed.id)).to.deep.equal(["ready", "accepted"]);
    });
  });

  it("erases the share of a key that is abandoned", async () => {
    const proposed = await alice.propose(dealt);
    await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
    await alice.event(proposed.id, "n1", "accepted");
    await alice.decide("abandoned", proposed);
    await alice.event(proposed.id, "n1", "erased");
    expect(await filesOf(proposed.id)).to.deep.equal([]);
  });

  it("takes a share that the work queue does not deliver", async () => {
    const proposed = await alice.establish(dealt, ["n1"]);
    expect(await filesOf(proposed.id)).to.have.length(1);
    // What was seen after SIGKILL: the stream starts anew behind its consumer.
    await harness.server.kill();
    const messages = join(harness.dir, "store/jetstream/THSM/streams/THSM_DEAL/msgs");
    expect(await readdir(messages)).to.include("1.blk");
    await rm(messages, { recursive: true });
    await harness.server.restart();
    await alice.establish(dealt, ["n1"]);
  });
});

async function allFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
