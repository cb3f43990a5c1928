import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { expect } from "chai";
import { headers as newHeaders, type NatsConnection } from "nats";
import { fromBase64url, fromHex, toHex } from "../../src/identity/encoding.js";
import {
  combine,
  encodeMessage,
  parseSignatureShare,
  verifyShareProof,
} from "../../src/scheme/index.js";
import {
  assembleMessage,
  signatureOf,
  signMessage,
  type SignedMessage,
} from "../../src/streams/envelope.js";
import type { Heartbeat } from "../../src/streams/beats.js";
import { readAuditEvent, readHeartbeat, verifySender } from "../../src/streams/open.js";
import { StreamReader } from "../../src/streams/read.js";
import type { SignRequest } from "../../src/streams/requests.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import { testKey, privateKeyOf } from "../support/keys.js";
import { digest, randomId, timeFromNow, type FakeClient, type ProposedKey } from "./fake-client.js";
import { eventually } from "./eventually.js";
import { startHarness, startServing, type Harness, type NodeProcess } from "./harness.js";

const dealt = testKey(1024);

describe("a node that serves", function () {
  this.timeout(20_000);
  let harness: Harness;
  let alice: FakeClient;
  let bob: FakeClient;
  let eve: FakeClient;
  let first: NodeProcess;
  let key: ProposedKey;

  before(async () => {
    harness = await startHarness();
    [alice, bob, eve] = await Promise.all([
      harness.client("alice"),
      harness.client("bob"),
      harness.client("eve"),
    ]);
    first = await startServing(await harness.configure("n1"));
    await startServing(await harness.configure("n2", "workers = 2"));
    key = await alice.establish(dealt, ["n1", "n2"]);
  });
  after(() => harness.stop());

  it("makes shares that combine to a signature", async () => {
    const data = Buffer.from("a record set");
    const inputs = [toHex(createHash("sha256").update(data).digest())];
    const one = await alice.ask(key.id, { inputs }, "n1");
    const two = await eventually("n2", () => alice.answerOf("n2", one.request));
    const shares = [one, two].map(({ share }) =>
      parseSignatureShare(
        dealt.group,
        share.party,
        fromBase64url(share.shares?.[0] ?? "", "share"),
      ),
    );
    const signature = combine(dealt.group, encoded("sha256", inputs[0] ?? ""), shares);
    const publicKey = createPublicKey(privateKeyOf(dealt));
    expect(verify("sha256", data, publicKey, signature)).to.equal(true);
    expect(one.share).to.include({ kind: "shares", party: 1, reqSeq: 1 });
    expect(one.share.proofs).to.equal(undefined);
  });

  it("answers each of 64 inputs in order, on any thread", async () => {
    const inputs = Array.from({ length: 64 }, (_, i) => digest(`batch ${i}`));
    const batch = await alice.ask(key.id, { inputs }, "n2");
    expect(batch.share.shares).to.have.length(64);
    for (const at of [0, 1, 31, 62, 63]) {
      const alone = await alice.ask(key.id, { inputs: [inputs[at] ?? ""] }, "n2");
      expect(alone.share.shares?.[0]).to.equal(batch.share.shares?.[at]);
    }
  });

  it("explains with proofs that verify", async () => {
    const inputs = [digest("one"), digest("two")];
    const { share } = await alice.ask(key.id, { kind: "explain", inputs });
    expect(share.kind).to.equal("explanation");
    for (const [i, input] of inputs.entries()) {
      const value = fromBase64url(share.shares?.[i] ?? "", "share");
      const proof = fromBase64url(share.proofs?.[i] ?? "", "proof");
      const isProven = verifyShareProof(
        dealt.group,
        encoded("sha256", input),
        parseSignatureShare(dealt.group, 1, value),
        proof,
        { keyId: key.id, epoch: 0 },
      );
      expect(isProven).to.equal(true);
    }
  });

  it("serves another client of the token", async () => {
    const { share } = await bob.ask(key.id);
    expect(share).to.include({ kind: "shares", client: "bob" });
  });

  it("stays silent when it is not asked", async () => {
    const request = alice.request(key.id, { parties: [2] });
    await alice.send(request);
    await eventually("n2", () => alice.answerOf("n2", request));
    // n1 has read it by the time it has answered the next.
    await alice.ask(key.id);
    expect(await alice.answerOf("n1", request)).to.equal(undefined);
  });

  describe("refuses", () => {
    const table: [string, string, () => Partial<SignRequest>][] = [
      ["an epoch that the key has not", "ERR_UNKNOWN_KEY", () => ({ epoch: 1 })],
      ["what has expired", "ERR_EXPIRED", () => ({ expires: timeFromNow(-1) })],
      ["what expires too far ahead", "ERR_EXPIRED", () => ({ expires: timeFromNow(130_000) })],
      ["an encoding outside the policy", "ERR_REFUSED_BY_POLICY", () => ({ encoding: "raw" })],
      ["a hash outside the policy", "ERR_REFUSED_BY_POLICY", () => ({ hash: "sha1" })],
      ["a digest of a wrong length", "ERR_INVALID_ARGUMENT", () => ({ inputs: ["00"] })],
      [
        "a salt that does not fit",
        "ERR_INVALID_ARGUMENT",
        () => ({
          encoding: "pss",
          hash: "sha512",
          inputs: ["00".repeat(64)],
          salts: ["00".repeat(63)],
        }),
      ],
      ["a test of another digest", "ERR_REFUSED_BY_POLICY", () => ({ kind: "test" })],
    ];
    for (const [what, code, changes] of table) {
      it(what, async () => {
        const { share, request, message } = await alice.ask(key.id, changes());
        expect(share).to.include({ kind: "refusal", code, rid: request.rid });
        expect(share.shares).to.equal(undefined);
        expect(share.reason).to.be.a("string").that.is.not.equal("");
        expect(message.seq).to.be.greaterThan(0);
      });
    }

    it("a hash too few", async () => {
      const request = alice.request(key.id);
      delete (request as { hash?: string }).hash;
      await alice.send(request);
      const { share } = await eventually("an answer", () => alice.answerOf("n1", request));
      expect(share.code).to.equal("ERR_UNSUPPORTED_MECHANISM");
    });

    it("a client without the token", async () => {
      const { share } = await eve.ask(key.id);
      expect(share.code).to.equal("ERR_UNKNOWN_KEY");
    });

    it("more inputs than the key's policy allows", async () => {
      const proposed = await alice.establish(dealt, ["n1"], { maxInputs: 1 });
      const inputs = [digest("one"), digest("two")];
      const { share } = await alice.ask(proposed.id, { inputs });
      expect(share.code).to.equal("ERR_REFUSED_BY_POLICY");
    });
  });

  describe("says one thing for a request", () => {
    it("when it is published again", async () => {
      const { request, message } = await alice.ask(key.id);
      await alice.publisher.publish(alice.signed(request));
      await alice.ask(key.id);
      const again = await alice.answerOf("n1", request);
      expect(again?.message.seq).to.equal(message.seq);
    });
  });

  describe("of a key that is not active", () => {
    let proposed: ProposedKey;
    const testDigest = (): string =>
      toHex(createHash("sha256").update(`thsm/v1 test\0${proposed.proposal}`).digest());

    before(async () => {
      proposed = await alice.propose(dealt, { minimum: 2 });
      await alice.deal(proposed, await alice.event(proposed.id, "n1", "ready"));
      await alice.event(proposed.id, "n1", "accepted");
    });

    it("signs nothing", async () => {
      const { share } = await alice.ask(proposed.id);
      expect(share.code).to.equal("ERR_KEY_NOT_ACTIVE");
    });

    it("signs its dealer's test", async () => {
      const { share } = await alice.ask(proposed.id, { kind: "test", inputs: [testDigest()] });
      expect(share.kind).to.equal("shares");
    });

    it("signs no test of another client, digest, hash or number", async () => {
      const other = await bob.ask(proposed.id, { kind: "test", inputs: [testDigest()] });
      expect(other.share.code).to.equal("ERR_REFUSED_BY_POLICY");
      for (const changes of [
        { inputs: [digest("x")] },
        { inputs: [testDigest(), testDigest()] },
        { inputs: [testDigest()], encoding: "pss", salts: [""] },
      ]) {
        const { share } = await alice.ask(proposed.id, { kind: "test", ...changes });
        expect(share.code).to.equal("ERR_REFUSED_BY_POLICY");
      }
    });

    it("signs from its activation, and nothing from its destruction on", async () => {
      // Not by the dealer's word alone.
      await alice.decide("activated", proposed, [1, 3]);
      expect((await alice.ask(proposed.id)).share.code).to.equal("ERR_KEY_NOT_ACTIVE");
      await alice.letN3Accept(proposed);
      await alice.decide("activated", proposed, [1, 3]);
      expect((await alice.ask(proposed.id)).share.kind).to.equal("shares");
      // Any client of the token may end it.
      await bob.decide("destroyed", proposed);
      // The event and a request come to the node on two streams, in either order.
      await alice.event(proposed.id, "n1", "erased");
      expect((await alice.ask(proposed.id)).share.code).to.equal("ERR_KEY_NOT_ACTIVE");
    });
  });

  describe("lets itself not be disturbed", () => {
    let connection: NatsConnection;
    before(async () => {
      connection = await harness.connect("eve");
    });

    /** Stores bytes on a request subject of eve's, as a bad client can. */
    const store = async (
      payload: Uint8Array | string,
      headers: Readonly<Record<string, string>>,
      subject: string = `thsm.v1.req.eve.${randomId()}.${randomId()}`,
    ): Promise<void> => {
      const h = newHeaders();
      for (const [name, value] of Object.entries(headers)) h.set(name, value);
      await connection.request(subject, payload, { headers: h, timeout: 2000 });
    };

    it("by junk, forgeries and strangers, and counts them", async () => {
      const well = eve.request(key.id);
      const stolen = alice.signed(alice.request(key.id));
      await store("", {});
      await store("{}", { "Thsm-Sig": "ed25519 nonsense" });
      await store(randomBytes(2000), signatureHeader(stolen));
      await store("[".repeat(30_000), signatureHeader(stolen));
      await store('{"__proto__":{"kind":"sign"}}', signatureHeader(stolen));
      await store(stolen.payload, signatureHeader(stolen));
      await store(JSON.stringify(well), signatureHeader(eve.signed(well)));
      // Well formed, on its own subject, and signed by somebody else.
      const request = eve.request(key.id);
      const subject = formatSubject({
        kind: "request",
        client: "eve",
        session: request.session,
        rid: request.rid,
      });
      const signer = harness.key("bob");
      await eve.publisher.publish(signMessage(signer, streamNames.requests, subject, request));
      await eve.send(eve.request("f".repeat(32)));

      const { share } = await alice.ask(key.id);
      expect(share.kind).to.equal("shares");
      expect(first.child.exitCode).to.equal(null);
      await first.stop();
      const event = await lastAudit(harness);
      expect(event).to.include({ type: "ignored", node: "n1" });
      const counts = event?.type === "ignored" ? event.counts.join(" ") : "";
      for (const code of [
        "ERR_INVALID_MESSAGE",
        "ERR_INVALID_SIGNATURE",
        "ERR_UNKNOWN_SENDER",
        "ERR_UNKNOWN_KEY",
      ]) {
        expect(counts).to.contain(code);
      }
      first = await startServing(await harness.configure("n1"));
    });

    it("by junk among keys and dealings", async () => {
      const stolen = alice.signed(alice.request(key.id));
      for (const subject of [
        `thsm.v1.key.${key.id}`,
        "thsm.v1.key.x",
        "thsm.v1.key.*",
        `thsm.v1.deal.n1.${key.id}`,
        "thsm.v1.deal.n1.*",
      ]) {
        await store("junk", {}, subject);
        await store("{}", signatureHeader(stolen), subject);
        await store(stolen.payload, signatureHeader(stolen), subject);
      }
      // It still enrols, so it has read past all of that.
      const proposed = await alice.establish(dealt, ["n1"]);
      expect((await alice.ask(proposed.id)).share.kind).to.equal("shares");
      expect(first.child.exitCode).to.equal(null);
    });

    it("by a backlog that has expired while it was away", async () => {
      await first.stop();
      const request = alice.request(key.id, { expires: timeFromNow(200) });
      await alice.send(request);
      const alive = alice.request(key.id);
      await alice.send(alive);
      await new Promise((resolve) => setTimeout(resolve, 300));
      first = await startServing(await harness.configure("n1"));
      await eventually("the answer", () => alice.answerOf("n1", alive));
      expect(await alice.answerOf("n1", request)).to.equal(undefined);
    });
  });

  it("beats once a second, signed, and counts on", async () => {
    const connection = await harness.connect("alice");
    const beats: Heartbeat[] = [];
    connection.subscribe("thsm.v1.beat.n2", {
      callback: (_, { subject, data, headers }) => {
        const message = assembleMessage("", subject, data, signatureOf(headers));
        const body = readHeartbeat(message);
        verifySender(harness.cluster, message, body, "node");
        beats.push(body);
      },
    });
    const [one, two] = await eventually("two beats", () => (beats.length >= 2 ? beats : undefined));
    expect(two).to.include({ boot: one?.boot, beat: (one?.beat ?? 0) + 1, queued: 0 });
    expect(two?.activeKeys).to.be.greaterThan(0);
  });

  it("needs less than 150 MB after a thousand signatures", async () => {
    const inputs = Array.from({ length: 50 }, (_, i) => digest(`rss ${i}`));
    for (let i = 0; i < 20; i++) await alice.ask(key.id, { inputs, parties: [1] });
    const rss = await first.residentBytes();
    expect(rss / 1e6).to.be.lessThan(150);
  });
});

function encoded(hash: "sha256", input: string): Uint8Array {
  return encodeMessage(dealt.group, { encoding: "pkcs1v15", hash, data: fromHex(input, "input") });
}

function signatureHeader({ signature }: SignedMessage): { "Thsm-Sig": string } {
  return { "Thsm-Sig": signature };
}

async function lastAudit(harness: Harness): Promise<ReturnType<typeof readAuditEvent>> {
  const reader = new StreamReader(await harness.connect("n1"));
  const message = await reader.last(
    streamNames.audit,
    formatSubject({ kind: "node-audit", node: "n1" }),
  );
  return message === undefined ? undefined : readAuditEvent(message);
}
