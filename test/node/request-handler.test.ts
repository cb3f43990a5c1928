import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { toBase64url } from "../../src/identity/encoding.js";
import { HsmError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { Answers } from "../../src/node/answers.js";
import { IgnoredMessages } from "../../src/node/ignored.js";
import { Journal } from "../../src/node/journal.js";
import { readEntry } from "../../src/node/journal-segments.js";
import { KeyDirectory, type KeyEntry } from "../../src/node/key-directory.js";
import { KeyStore } from "../../src/node/key-store.js";
import { Outbox } from "../../src/node/outbox.js";
import { RateLimits } from "../../src/node/rate-limits.js";
import { RequestHandler } from "../../src/node/request-handler.js";
import { SigningKeys } from "../../src/node/signing-keys.js";
import { SigningPool } from "../../src/node/signing-pool.js";
import { bindingOf } from "../../src/node/enrollment.js";
import { groupKeyBytes, serializeKeyShare } from "../../src/scheme/index.js";
import type { SignedMessage, StoredMessage } from "../../src/streams/envelope.js";
import { readShare } from "../../src/streams/open.js";
import type { PublishOptions, Stored } from "../../src/streams/publish.js";
import type { ShareMessage } from "../../src/streams/shares.js";
import { streamNames } from "../../src/streams/subjects.js";
import { testKey } from "../support/keys.js";
import { digest, randomId } from "./fake-client.js";
import { memoryCluster, storedMessage } from "./memory-cluster.js";

const { cluster, keys } = memoryCluster();
const dealt = testKey(1024);
const group = groupKeyBytes(dealt.group);
const keyId = "0123456789abcdef0123456789abcdef";
const signedDigest = digest("a checkpoint of this node");
const noon = Date.parse("2026-01-01T12:00:00.000Z");
const at = (ms: number): string => new Date(noon + ms).toISOString();

/** A request of alice's, stored at noon. */
function request(more: object = {}, storedAt: string = at(0)): StoredMessage {
  const [session, rid] = [randomId(), randomId()];
  const subject = `thsm.v1.req.alice.${session}.${rid}`;
  const body = {
    version: 1,
    kind: "sign",
    client: "alice",
    session,
    seq: 1,
    rid,
    key: keyId,
    epoch: 0,
    algorithm: "rsa",
    scheme: "shoup",
    parties: [1, 2],
    encoding: "pkcs1v15",
    hash: "sha256",
    inputs: [digest("data")],
    expires: at(15_000),
    attempt: 1,
    ...more,
  };
  return storedMessage(keys.alice, streamNames.requests, subject, body, storedAt);
}

/** A stream that takes everything at once, and a clock that stands still. */
describe("the request handler", () => {
  let dataDir: string;
  let published: SignedMessage[];
  let handler: RequestHandler;
  let ignored: IgnoredMessages;
  let answers: Answers;
  let entry: KeyEntry;
  let pool: SigningPool;
  let outbox: Outbox;
  let journal: Journal;
  let now: number;
  let onPublish: () => void;

  async function begin(encodings: readonly string[]): Promise<void> {
    now = noon;
    dataDir = mkdtempSync(join(tmpdir(), "thsm-handler-"));
    published = [];
    onPublish = () => undefined;
    const publisher = {
      publish(message: SignedMessage, _options: PublishOptions): Promise<Stored> {
        published.push(message);
        onPublish();
        return Promise.resolve({ seq: published.length });
      },
    };
    const log = silentLogger;
    const directoryPath = join(dataDir, "journal");
    const options = { directory: directoryPath, key: keys.n1, cluster, log };
    ({ journal } = await Journal.open({ ...options, onFailure: () => undefined }, () => true));
    outbox = new Outbox({
      journal,
      publisher,
      markerPath: join(dataDir, "published"),
      published: 0,
      log,
    });
    ignored = new IgnoredMessages(log);
    const directory = new KeyDirectory({
      cluster,
      node: "n1",
      ignored,
      onChange: (changed) => (entry = changed),
    });
    const proposal = {
      version: 1,
      type: "proposed",
      key: keyId,
      epoch: 0,
      client: "alice",
      token: "zones",
      label: "",
      id: "01",
      algorithm: "rsa",
      scheme: "shoup",
      modulus: toBase64url(group.modulus),
      publicExponent: toBase64url(group.publicExponent),
      threshold: 2,
      parties: ["n1", "n2", "n3"],
      minimum: 2,
      verificationBase: toBase64url(group.verificationBase),
      verificationKeys: group.verificationKeys.map((one) => toBase64url(one)),
      encodings,
      hashes: ["sha256"],
      maxInputs: 64,
      proofs: "always",
      time: at(0),
    };
    directory.apply(
      storedMessage(keys.alice, streamNames.keys, `thsm.v1.key.${keyId}`, proposal, at(0)),
    );
    entry.life = { ...entry.life, state: "active" };
    const store = await KeyStore.open(dataDir);
    const [share] = dealt.shares;
    if (share === undefined) throw new Error("no share");
    await store.save(bindingOf(entry), serializeKeyShare(share, dealt.group));
    pool = new SigningPool(1);
    const rates = await RateLimits.open(dataDir, () => now);
    answers = new Answers();
    handler = new RequestHandler({
      node: "n1",
      cluster,
      directory,
      store,
      keys: new SigningKeys(store, pool),
      pool,
      rates,
      answers,
      checkpoints: {
        requireSigned: (digests) => {
          if (digests.every((one) => one === signedDigest)) return;
          throw new HsmError("ERR_REFUSED_BY_POLICY", "not signed by this node");
        },
      },
      outbox,
      ignored,
      guard: { see: () => {}, require: () => {}, breach: undefined },
      log,
      maxRequestLifetimeMs: 120_000,
      clockToleranceMs: 30_000,
      requestsBefore: 3,
      catchUp: () => Promise.resolve(),
      now: () => now,
    });
  }
  beforeEach(() => begin(["pkcs1v15"]));
  const end = async (): Promise<void> => {
    await pool.close();
    await outbox.close();
    await journal.close();
    rmSync(dataDir, { recursive: true, force: true });
  };
  afterEach(end);

  /** Delivers messages side by side; returns how each delivery ended, in the order of its end. */
  const deliver = async (...messages: StoredMessage[]): Promise<string[]> => {
    const ends: string[] = [];
    for (const message of messages) {
      const ack = (): void => void ends.push("ack");
      handler.handle({ message, ack, retry: () => void ends.push("retry") });
    }
    await handler.idle();
    return ends;
  };
  const answer = async (message: StoredMessage): Promise<ShareMessage> => {
    published = [];
    await deliver(message);
    const [last] = published;
    if (last === undefined) throw new Error("no answer");
    return readShare(last);
  };

  it("says one thing for a request, however often and however much at once it comes", async () => {
    const message = request();
    expect(await deliver(message, message, message)).to.deep.equal(["ack", "ack", "ack"]);
    expect(await deliver(message)).to.deep.equal(["ack"]);
    expect(new Set(published.map(({ hash }) => hash)).size).to.equal(1);
    expect(published.length).to.equal(4);
    expect(journal.last?.n).to.equal(1);
  });

  it("gives no second answer to another request in the same place", async () => {
    const message = request();
    await deliver(message);
    const { hash } = request();
    expect(await deliver({ ...message, hash })).to.deep.equal(["ack"]);
    expect(published).to.have.length(1);
    expect(ignored.take()).to.deep.equal(["ERR_CONFLICT 1"]);
  });

  it("remembers across a restart, from its journal", async () => {
    const message = request();
    const { rid } = await answer(message);
    const restored = new Answers();
    restored.restore(await journal.since(1, ""), 150_000);
    expect(restored.get(message.subject)?.request).to.equal(message.hash);
    const said = await restored.get(message.subject)?.said;
    if (said === undefined || !("path" in said)) throw new Error("no place");
    expect((await readEntry(said)).message.subject).to.contain(rid);
  });

  it("forgets an answer when its request has expired for certain", async () => {
    await deliver(request(), request({ expires: at(600_000) }));
    answers.forgetExpired(noon + 45_000);
    expect(answers.size).to.equal(2);
    answers.forgetExpired(noon + 45_001);
    expect(answers.size).to.equal(1);
    answers.forgetExpired(noon + 150_001);
    expect(answers.size).to.equal(0);
  });

  it("acknowledges after the stream has the answer", async () => {
    const ends: string[] = [];
    onPublish = () => ends.push("published");
    handler.handle({ message: request(), ack: () => ends.push("ack"), retry: () => undefined });
    await handler.idle();
    expect(ends).to.deep.equal(["published", "ack"]);
  });

  it("signs checkpoints of its own with keys for checkpoints, and nothing else", async () => {
    const own = { encoding: "checkpoint", inputs: [signedDigest] };
    const refused = { kind: "refusal", code: "ERR_REFUSED_BY_POLICY" };
    expect(await answer(request(own))).to.deep.include(refused);
    await end();
    await begin(["checkpoint"]);
    expect(await answer(request(own))).to.include({ kind: "shares" });
    expect(await answer(request({ ...own, kind: "explain" }))).to.include({ kind: "explanation" });
    for (const other of [
      { ...own, inputs: [digest("other")] },
      { ...own, inputs: [signedDigest, digest("other")] },
      { ...own, kind: "explain", inputs: [digest("other")] },
      { ...own, kind: "test" },
      { ...own, encoding: "pkcs1v15" },
      { ...own, encoding: "raw", hash: undefined },
    ]) {
      expect(await answer(request(other)), JSON.stringify(other)).to.deep.include(refused);
    }
    const sha512 = { ...own, hash: "sha512", inputs: ["00".repeat(64)] };
    expect(await answer(request(sha512))).to.deep.include(refused);
  });

  it("proves always when the key's policy demands it", async () => {
    const { kind, proofs } = await answer(request({ inputs: [digest("a"), digest("b")] }));
    expect(kind).to.equal("shares");
    expect(proofs).to.have.length(2);
  });

  it("tells apart a slow delivery and a wrong clock", async () => {
    now = noon + 20_000;
    const late = await answer(request());
    expect(late.code).to.equal("ERR_EXPIRED");
    expect(late.reason).to.contain("5 s in the past").and.to.contain("stored it, 20 s in the past");
    expect(late.reason).to.contain("this node's clock is wrong");
    now = noon - 300_000;
    const early = await answer(request());
    expect(early.code).to.equal("ERR_EXPIRED");
    expect(early.reason).to.contain("315 s in the future").and.to.contain("this node's clock");
    now = noon;
    const expires = new Date(noon - 600_000).toISOString();
    const foreign = await answer(request({ expires }));
    expect(foreign.reason).to.contain("600 s in the past").and.to.contain("the client's clock");
  });

  it("does not answer what expired before it started", async () => {
    now = noon + 20_000;
    expect(await deliver({ ...request(), seq: 3 })).to.deep.equal(["ack"]);
    expect(published).to.have.length(0);
    expect(ignored.take()).to.deep.equal(["ERR_EXPIRED 1"]);
    // What came later is answered, though this node's clock may say that it is from before.
    expect((await answer({ ...request({}, at(-60_000)), seq: 4 })).code).to.equal("ERR_EXPIRED");
  });

  it("withholds shares of a key that dies, or a request that expires, while threads work", async () => {
    const inputs = Array.from({ length: 64 }, (_, i) => digest(`data ${i}`));
    const sign = pool.sign.bind(pool);
    // The pool has handed out the first portions when `sign` returns: no clock decides this test.
    const whileThreadsWork = (change: () => void): void => {
      pool.sign = (job) => {
        const signed = sign(job);
        change();
        return signed;
      };
    };
    whileThreadsWork(() => (entry.life = { ...entry.life, state: "destroyed" }));
    expect((await answer(request({ inputs }))).code).to.equal("ERR_KEY_NOT_ACTIVE");
    entry.life = { ...entry.life, state: "active" };
    // Also when the last portion is with a thread already.
    expect((await answer(request())).code).to.equal("ERR_KEY_NOT_ACTIVE");
    entry.life = { ...entry.life, state: "active" };
    whileThreadsWork(() => (now = noon + 15_000));
    expect((await answer(request({ inputs }))).code).to.equal("ERR_EXPIRED");
  });
});
