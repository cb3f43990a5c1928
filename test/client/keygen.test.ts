import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import type { KeygenProgress } from "../../src/client/api.js";
import { openBus, type Bus } from "../../src/client/bus.js";
import { connect, readClientConfig, type HsmClient } from "../../src/client/index.js";
import { Dealer } from "../../src/client/dealer.js";
import { IdentityLock } from "../../src/client/identity-lock.js";
import { dealKeyOut, type KeygenContext } from "../../src/client/keygen.js";
import { Session } from "../../src/client/session.js";
import { silentLogger } from "../../src/log.js";
import { groupKeyBytes, serializeKeyShare } from "../../src/scheme/index.js";
import { sealShare } from "../../src/streams/sealing.js";
import { eventually, startCluster, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { dealt, ScriptedNode } from "./scripted-node.js";

const { signal: never } = new AbortController();

/** A dealer with prepared primes, in this process. */
const preparedDealer: KeygenContext["dealer"] = {
  deal: () => Promise.resolve(groupKeyBytes(dealt.group)),
  seal(dealing) {
    if (dealing.sealingKey === "A".repeat(43)) return childDealer.seal(dealing, never);
    const share = dealt.shares[dealing.party - 1];
    if (share === undefined) throw new RangeError("no such party");
    return sealShare(dealing, serializeKeyShare(share, dealt.group));
  },
};
let childDealer: Dealer;

function childrenOf(pid: number): number[] {
  const text = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" });
  return text.split("\n").flatMap((line) => {
    const [child, parent] = line.trim().split(/\s+/, 2).map(Number);
    return parent === pid && line.includes("dealer-child") && child !== undefined ? [child] : [];
  });
}

describe("generating and destroying a key", () => {
  let cluster: TestCluster;
  let nodes: ScriptedNode[];
  let bus: Bus;

  before(async () => {
    cluster = await startCluster();
    nodes = await Promise.all([1, 2, 3, 4, 5].map((i) => new ScriptedNode(cluster, i).start()));
    const config = await readClientConfig(await cluster.clientConfig("alice"));
    const lock = await IdentityLock.of(config);
    bus = await openBus(config, cluster.cluster, lock, silentLogger, never);
    childDealer = new Dealer(1024);
    await childDealer.deal(5, 3, never, () => undefined);
  });
  after(async () => {
    childDealer.end();
    await bus.close();
    for (const node of nodes) node.stop();
    await cluster.stop();
  });
  beforeEach(() => {
    for (const node of nodes) node.dealing = "accept";
  });

  const context = (more: Partial<KeygenContext> = {}): KeygenContext => ({
    bus,
    cluster: cluster.cluster,
    client: "alice",
    threshold: 3,
    minimum: 5,
    dealer: preparedDealer,
    enrollmentMs: 2400,
    openSession: () =>
      new Session({ bus, client: "alice", window: 8, batch: 16, timeoutMs: 5000 }, "zones", "test"),
    ...more,
  });
  const run = (more: Partial<KeygenContext> = {}, keyId = randomBytes(16).toString("hex")) =>
    dealKeyOut(context(more), keyId, { token: "zones", label: "test", onProgress }, never);
  let progress: KeygenProgress[] = [];
  const onProgress = (one: KeygenProgress): void => void progress.push(one);
  const dealWith = (party: number, dealing: ScriptedNode["dealing"]): void => {
    const node = nodes[party - 1];
    if (node !== undefined) node.dealing = dealing;
  };

  it("makes an active key that all hold", async () => {
    progress = [];
    const record = await run();
    expect(record.state).to.equal("active");
    expect(record.holders).to.deep.equal([1, 2, 3, 4, 5]);
    expect(progress.at(-1)).to.deep.equal({ step: "active" });
  });

  it("abandons the key and names a silent node", async () => {
    dealWith(4, "silent");
    const keyId = randomBytes(16).toString("hex");
    const error = await failure(run({}, keyId), "ERR_KEY_ABANDONED");
    expect(error.message).to.include("n4 did not accept a share within 2.4 s");
    expect(bus.keys.record(keyId)?.state).to.equal("abandoned");
    await eventually("the receipts", () => bus.keys.record(keyId)?.erased.size === 4 || undefined);
  });

  it("goes on without a silent node when fewer are enough", async () => {
    dealWith(4, "silent");
    expect((await run({ minimum: 3 })).holders).to.deep.equal([1, 2, 3, 5]);
  });

  it("abandons the key with the reason of a node that rejects", async () => {
    dealWith(2, "reject");
    const error = await failure(run(), "ERR_KEY_ABANDONED");
    expect(error.message).to.include("nodes rejected their shares (n2: no room)");
  });

  it("is not brought down by a node with a useless one-time key", async () => {
    dealWith(1, "useless-key");
    expect((await run({ minimum: 4 })).holders).to.deep.equal([2, 3, 4, 5]);
  });

  it("does not spin when a node that has accepted is ready again", async () => {
    dealWith(1, "repeat-ready");
    dealWith(5, "silent");
    expect((await run({ minimum: 4 })).holders).to.deep.equal([1, 2, 3, 4]);
  });

  it("abandons the key when the dealing process is killed", async () => {
    const dealer = new Dealer(1024);
    dealWith(3, "silent");
    const seal: Dealer["seal"] = (dealing, signal) => {
      const sealed = dealer.seal(dealing, signal);
      dealer.end();
      return sealed;
    };
    const deal: Dealer["deal"] = (...args) => dealer.deal(...args);
    const keyId = randomBytes(16).toString("hex");
    const error = await failure(run({ dealer: { deal, seal } }, keyId), "ERR_KEY_ABANDONED");
    expect(error.message).to.include("the dealing process ended early");
    expect(bus.keys.record(keyId)?.state).to.equal("abandoned");
  }).timeout(20_000);

  describe("through the client", () => {
    let client: HsmClient;
    beforeEach(async () => {
      client = await connect({ configFile: await cluster.clientConfig("alice") });
    });
    afterEach(() => client.close());

    it("refuses what no node would accept, before it looks for primes", async () => {
      const good = { token: "zones", label: "test" };
      const wrong = [
        { ...good, id: new Uint8Array() },
        { ...good, id: new Uint8Array(256) },
        { ...good, label: "x".repeat(256) },
        { ...good, policy: { maxInputs: 65 } },
        { ...good, policy: { encodings: [] } },
        { ...good, policy: { hashes: ["md5" as "sha1"] } },
      ];
      for (const options of wrong) {
        await failure(client.generateKey(options), "ERR_INVALID_ARGUMENT");
      }
      const odd = client.generateKey({ ...good, modulusBits: 1000 });
      await failure(odd, "ERR_UNSUPPORTED_MECHANISM");
      await failure(client.generateKey({ ...good, token: "other" }), "ERR_UNKNOWN_KEY");
      const strict = await connect({
        configFile: await cluster.clientConfig("bob", "threshold = 2"),
      });
      const error = await failure(strict.generateKey(good), "ERR_INVALID_CONFIG");
      expect(error.message).to.include("client.toml says 2 and 5");
      await strict.close();
    });

    it("finds the key of an operation again, and destroys it with receipts", async () => {
      const operationId = randomBytes(16);
      const wish = { token: "zones", label: "again", modulusBits: 1024, operationId };
      const [one, two] = await Promise.all([
        client.generateKey(wish),
        client.generateKey({ ...wish, timeoutMs: 60_000.5 }),
      ]);
      expect(two.keyId).to.equal(one.keyId);
      expect((await client.generateKey(wish)).keyId).to.equal(one.keyId);
      const result = await client.destroyKey(one.keyId);
      expect(result).to.deep.equal({
        keyId: one.keyId,
        threshold: 3,
        erased: ["n1", "n2", "n3", "n4", "n5"],
        pending: [],
        beyondRecovery: true,
      });
      expect((await client.keys("zones")).map(({ keyId }) => keyId)).to.not.include(one.keyId);
      await failure(client.destroyKey("0".repeat(32)), "ERR_UNKNOWN_KEY");
    }).timeout(60_000);

    it("leaves no dealing process behind", async () => {
      const before = childrenOf(process.pid);
      client.prepareKey(4096);
      const making = client.generateKey({ token: "zones", label: "never", modulusBits: 3072 });
      making.catch(() => undefined);
      await eventually(
        "the children",
        () => childrenOf(process.pid).length >= before.length + 2 || undefined,
      );
      await client.close();
      await failure(making, "ERR_ABORTED");
      await eventually(
        "their end",
        () => childrenOf(process.pid).length === before.length || undefined,
      );
    });
  });

  it("ends the dealing process when its parent is killed", async () => {
    const dealer = fileURLToPath(new URL("../../src/client/dealer.js", import.meta.url));
    const program = `import { Dealer } from ${JSON.stringify(dealer)}; new Dealer(4096);`;
    const { spawn } = await import("node:child_process");
    const parent = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: "ignore",
    });
    const pid = parent.pid ?? 0;
    const [child = 0] = await eventually("the child", () => {
      const found = childrenOf(pid);
      return found.length > 0 ? found : undefined;
    });
    await sleep(300);
    parent.kill("SIGKILL");
    await eventually("the child's end", () => {
      try {
        process.kill(child, 0);
        return undefined;
      } catch {
        return true;
      }
    });
  });
});
