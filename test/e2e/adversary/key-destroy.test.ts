/** @module A node that was away while a key was destroyed; clients that reach for each other's keys. */
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { connect, type HsmClient, type KeyInfo } from "../../../src/client/index.js";
import { HsmError } from "../../../src/errors.js";
import { readIdentityFile } from "../../../src/identity/identity-file.js";
import { silentLogger } from "../../../src/log.js";
import { readCluster } from "../../../src/identity/cluster.js";
import { KeyStore } from "../../../src/node/key-store.js";
import { connectBus } from "../../../src/streams/connection.js";
import { signMessage } from "../../../src/streams/envelope.js";
import { readShare, verifySender } from "../../../src/streams/open.js";
import { Publisher } from "../../../src/streams/publish.js";
import { StreamReader } from "../../../src/streams/read.js";
import { formatSubject, streamNames } from "../../../src/streams/subjects.js";
import { randomId, timeFromNow } from "../../node/fake-client.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { Needles } from "../needles.js";
import { addSecondClient } from "../second-client.js";
import { until } from "../until.js";

const data = createHash("sha256").update("what to sign").digest();
const what = (keyId: string) => ({ keyId, encoding: "pkcs1v15", hash: "sha256", data }) as const;

describe("keys that are over, and keys of others", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let first: HsmClient;
  let second: HsmClient;
  let second2: string;

  before(async () => {
    cluster = await TestCluster.start();
    await cluster.down();
    second2 = await addSecondClient(cluster);
    await cluster.up();
    first = await cluster.client();
    const client = await readFile(join(cluster.dir, "client/client.toml"), "utf8");
    const own = client
      .replace(/^name = .*$/m, 'name = "c2"')
      .replace(/^cluster = .*$/m, 'cluster = "../client/cluster.toml"')
      .replace(/^identityFile = .*$/m, 'identityFile = "identity.json"')
      .replace(/^loginFile = .*$/m, 'loginFile = "login.nk"');
    await writeFile(join(second2, "client.toml"), own);
    second = await connect({ configFile: join(second2, "client.toml"), log: silentLogger });
  });
  after(async () => {
    await first.close();
    await second.close();
    await cluster.close();
  });

  async function code(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      return error instanceof HsmError ? error.code : String(error);
    }
    return "nothing was thrown";
  }

  /** What a node answers to a request that no library would send. */
  async function answerOf(node: string, party: number, keyId: string): Promise<string> {
    const members = await readCluster(join(cluster.dir, "client/cluster.toml"));
    const key = (await readIdentityFile(join(second2, "identity.json"))).openUnprotected();
    const connection = await connectBus({
      servers: members.servers,
      name: "c2",
      loginFile: join(second2, "login.nk"),
      log: silentLogger,
      timeoutMs: 5000,
    });
    try {
      const reader = new StreamReader(connection);
      const [session, rid] = [randomId(), randomId()];
      const subject = formatSubject({ kind: "request", client: "c2", session, rid });
      const message = signMessage(key, streamNames.requests, subject, {
        version: 1,
        kind: "sign",
        client: "c2",
        session,
        seq: 1,
        rid,
        key: keyId,
        epoch: 0,
        algorithm: "rsa",
        scheme: "shoup",
        parties: [party],
        encoding: "pkcs1v15",
        hash: "sha256",
        inputs: [data.toString("hex")],
        expires: timeFromNow(20_000),
        attempt: 1,
      });
      await new Publisher(connection, reader, "c2").publish(message);
      const answer = formatSubject({ kind: "share", node, client: "c2", session, rid });
      let said = await reader.last(streamNames.shares, answer);
      await until("an answer", async () => {
        said = await reader.last(streamNames.shares, answer);
        return said !== undefined;
      });
      if (said === undefined) return "";
      const share = readShare(said);
      verifySender(members, said, share, "node");
      return share.code ?? share.kind;
    } finally {
      await connection.close();
    }
  }

  it("a returning node erases before it serves, says so, and refuses", async () => {
    const key = await second.generateKey({ token: "other", label: "short", modulusBits: 1024 });
    const dataDir = join(cluster.dir, "nodes/n5/data");
    const keys = join(dataDir, "keys");
    const file = await readFile(join(keys, `${key.keyId}.share`));
    const proposed = (await readHistory(cluster)).find(
      (one) => one.stream === "THSM_KEY" && bodyOf(one)["key"] === key.keyId,
    );
    const binding = { key: key.keyId, epoch: 0, party: 5, proposal: proposed?.hash ?? "" };
    const clear = Buffer.from(await (await KeyStore.open(dataDir)).load(binding));
    const needles = new Needles([
      { name: "the share", bytes: clear.subarray(-key.modulus.length) },
      { name: "its file", bytes: file.subarray(60) },
    ]);
    expect(needles.find(file)).to.deep.equal(["its file"]);
    expect(needles.find(clear)).to.deep.equal(["the share"]);
    await cluster.kill("n5");
    const so = await second.destroyKey(key.keyId, { waitMs: 1000 });
    expect(so.pending).to.include("n5");
    await until("n-k+1 erasures", async () => {
      return (await second.destroyKey(key.keyId, { waitMs: 1000 })).beyondRecovery;
    });
    expect(await code(sign(second, "other", key.keyId))).to.equal("ERR_KEY_NOT_ACTIVE");

    await cluster.startNode("n5");
    const done = await second.destroyKey(key.keyId, { waitMs: 60_000 });
    expect(done.pending).to.deep.equal([]);
    expect((await readdir(keys)).filter((name) => name.includes(key.keyId))).to.deep.equal([]);
    for (const name of await readdir(dataDir, { recursive: true })) {
      const bytes = await readFile(join(dataDir, name)).catch(() => Buffer.alloc(0));
      expect(needles.find(bytes), name).to.deep.equal([]);
    }
    expect(await answerOf("n5", 5, key.keyId)).to.equal("ERR_KEY_NOT_ACTIVE");
  });

  it("`thsm key destroy` tells when the key can never sign again, and waits for the rest", async () => {
    const { keyId } = await cluster.makeKey("ends", 1024);
    await cluster.kill("n4");
    const partly = await cluster.thsm("key", "destroy", "ends");
    expect(partly.code, partly.text).to.equal(0);
    expect(partly.text).to.include("it can never sign again").and.include("still to erase: n4");
    const waiting = cluster.thsm("key", "destroy", keyId, "--wait");
    await cluster.startNode("n4");
    const { code: status, text } = await waiting;
    expect(status, text).to.equal(0);
    expect(text).to.include("every node has erased its share");
  });

  it("two tokens have the same label and id, and nothing else in common", async () => {
    const id = Uint8Array.of(7);
    const one = await first.generateKey({ token: "dns", label: "zsk", id, modulusBits: 1024 });
    const two = await second.generateKey({ token: "other", label: "zsk", id, modulusBits: 1024 });
    expect(one.keyId).to.not.equal(two.keyId);
    const idsOf = (keys: readonly KeyInfo[]): string[] => keys.map(({ keyId }) => keyId);
    expect(idsOf(await first.keys("dns")))
      .to.include(one.keyId)
      .and.not.include(two.keyId);
    expect(idsOf(await second.keys("other"))).to.deep.equal([two.keyId]);
    expect(await code(first.keys("other"))).to.equal("ERR_UNKNOWN_KEY");
    expect(await code(sign(second, "other", one.keyId))).to.equal("ERR_UNKNOWN_KEY");
    expect(await code(second.destroyKey(one.keyId))).to.equal("ERR_UNKNOWN_KEY");
    // And a client that does not ask its library: refused by the node, on record.
    expect(await answerOf("n2", 2, one.keyId)).to.equal("ERR_UNKNOWN_KEY");
    await sign(first, "dns", one.keyId);
    await sign(second, "other", two.keyId);
  });

  it("nodes enforce the policy that `thsm key generate` was given, and `thsm key show` tells it", async () => {
    const flags = "--hash sha256 --encoding pkcs1v15 --client c1 --max-inputs 4 --rate 3/86400";
    const command = `key generate --label strict --bits 1024 ${flags}`;
    const made = await cluster.thsmJson<{ keyId: string }>(...command.split(" "));
    const { text } = await cluster.thsm("key", "show", "strict");
    expect(text)
      .to.match(/^encodings +pkcs1v15$/m)
      .and.match(/^hashes +sha256$/m);
    expect(text)
      .to.match(/^maxInputs +3$/m)
      .and.match(/^rate +3\/86400$/m);
    expect(text).to.match(/^clients +c1$/m);
    const outcomes: string[] = [];
    // 3 signatures on each of 5 nodes, of which each signature takes 3: 5 at most.
    for (let i = 0; i < 7; i++) outcomes.push(await code(sign(first, "dns", made.keyId)));
    const good = outcomes.filter((one) => one === "nothing was thrown").length;
    expect(good).to.be.within(3, 5);
    expect(outcomes.at(-1)).to.equal("ERR_RATE_LIMITED");
    // A restart does not fill the bucket.
    for (const node of ["n1", "n2", "n3", "n4", "n5"]) {
      await cluster.kill(node);
      await cluster.startNode(node);
    }
    expect(await code(sign(first, "dns", made.keyId))).to.equal("ERR_RATE_LIMITED");
  });

  it("leaves a history in which only the requests past the library stand out", async () => {
    const { text } = await cluster.thsm("audit", "verify");
    const found = [...text.matchAll(/^FINDING (\w+) .* of client (\w+)/gm)];
    const facts = found.map(([, finding, client]) => `${finding} ${client}`);
    expect(facts).to.deep.equal(["AUDIT_SESSION_NOT_OPENED c2", "AUDIT_SESSION_NOT_OPENED c2"]);
  });
});

async function sign(client: HsmClient, token: string, keyId: string): Promise<Uint8Array> {
  const session = await client.openSession(token, "test");
  try {
    return await session.sign(what(keyId), { timeoutMs: 30_000 });
  } finally {
    await session.close();
  }
}
