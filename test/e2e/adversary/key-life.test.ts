/**
 * @module The dealer, each node and the broker are killed at every step of a key's life. Half a minute
 * after all are back, the key signs, or nothing is left of it.
 */
import { fork, type ChildProcess } from "node:child_process";
import { createHash, createPublicKey } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import type { NatsConnection } from "nats";
import { readCluster, type Cluster } from "../../../src/identity/cluster.js";
import { fromBase64url, toBase64url } from "../../../src/identity/encoding.js";
import { silentLogger } from "../../../src/log.js";
import { connectBus } from "../../../src/streams/connection.js";
import type { KeyRecord } from "../../../src/streams/key-life.js";
import { KeyLives } from "../../../src/streams/key-lives.js";
import { StreamReader } from "../../../src/streams/read.js";
import { allKeys, streamNames } from "../../../src/streams/subjects.js";
import { Chance, seed } from "../../support/random.js";
import { TestCluster } from "../cluster.js";
import { until } from "../until.js";
import type { FromDealer, ToDealer } from "./dealer.js";
import { allPoints, sightOf, someCrashes, type Crash } from "./key-points.js";

const isSlow = process.env["SLOW"] !== undefined;
const chance = new Chance("a key's life");
const parties = 3;
const threshold = 2;
const nodes = ["n1", "n2", "n3"];
const settleMs = 30_000;
const auditEvery = 20;
/** `max_age` of THSM_DEAL, and the time that a server takes over it. */
const forgottenMs = 130_000;

const crashes: Crash[] = allPoints(parties, threshold).flatMap((point) =>
  ["dealer", ...nodes, "nats"].map((victim) => ({ ...point, victim })),
);
const chosen = chance.shuffled(isSlow ? crashes : someCrashes(crashes, chance));

describe(`a key's life, with a death at ${isSlow ? "each" : `some`} of its steps (seed ${seed})`, function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let members: Cluster;
  let auditor: NatsConnection;
  let dealer: ChildProcess;
  /** Called with everything that the bus shows. */
  let onSight: (subject: string, payload: Uint8Array) => void = () => undefined;
  let rounds = 0;
  /** A killed server may keep what was acknowledged, and what it has forgotten to deliver, for its age. */
  let wasServerKilled = false;

  before(async () => {
    cluster = await TestCluster.start({ parties, threshold });
    await cluster.down();
    // Nobody but its node may see a sealed share go by; here the watcher must.
    const conf = join(cluster.dir, "nats/server.conf");
    const text = await readFile(conf, "utf8");
    const open = text.replaceAll('"thsm.v1.deal.>"', '"thsm.v1.nothing"');
    expect(open).to.not.equal(text);
    await writeFile(conf, open);
    const client = join(cluster.dir, "client/client.toml");
    await writeFile(client, `${await readFile(client, "utf8")}\nenrollmentMs = 10000\n`);
    await cluster.up();
    members = await readCluster(join(cluster.dir, "auditor/cluster.toml"));
    auditor = await connectBus({
      servers: members.servers,
      name: "auditor",
      loginFile: join(cluster.dir, "auditor/login.nk"),
      log: silentLogger,
      timeoutMs: 5000,
    });
    auditor.subscribe("thsm.v1.>", {
      callback: (_error, { subject, data }) => onSight(subject, data),
    });
    await auditor.flush();
    dealer = await startDealer();
  });
  after(async () => {
    await auditor.close();
    await cluster.close();
  });

  async function startDealer(): Promise<ChildProcess> {
    const file = fileURLToPath(new URL("dealer.js", import.meta.url));
    const child = cluster.adopt(fork(file, { env: cluster.env, stdio: "inherit" }));
    await once(child, "message");
    return child;
  }

  /** Undefined when the dealer has died over it. */
  async function ask(order: ToDealer): Promise<FromDealer | undefined> {
    const over = new AbortController();
    const { signal } = over;
    dealer.send(order, () => undefined);
    const answer = once(dealer, "message", { signal }).then(([said]) => said as FromDealer);
    const end = once(dealer, "exit", { signal }).then(() => undefined);
    try {
      return await Promise.race([answer, end]);
    } finally {
      answer.catch(() => undefined);
      end.catch(() => undefined);
      over.abort();
    }
  }

  async function pidOf(victim: string): Promise<number> {
    const pid = victim === "dealer" ? dealer.pid : await cluster.processes.find(victim);
    if (pid === undefined) throw new Error(`${victim} does not run`);
    return pid;
  }

  /** Kills the victim as soon as the point is seen. Returns whether it came, and the key. */
  function armed(crash: Crash, pid: number, known?: string): { isDead: boolean; key?: string } {
    const so: { isDead: boolean; key?: string } =
      known === undefined ? { isDead: false } : { isDead: false, key: known };
    let count = 0;
    onSight = (subject, payload) => {
      const sight = sightOf(subject, payload);
      if (sight === undefined) return;
      if (sight.event === "proposed") so.key ??= sight.key;
      if (sight.key !== so.key || sight.event !== crash.event || sight.stage !== crash.stage)
        return;
      count += 1;
      if (count !== crash.count || so.isDead) return;
      process.kill(pid, "SIGKILL");
      so.isDead = true;
    };
    return so;
  }

  /** A key without any accident. */
  async function deal(): Promise<string> {
    const made = await ask({ op: "deal" });
    if (made?.key === undefined) throw new Error(`no key was made: ${made?.error}`);
    return made.key;
  }

  /** Deals, or destroys, until the point has come and the victim is dead. */
  async function strike(
    crash: Crash,
    known: string | undefined,
  ): Promise<{ so: { isDead: boolean; key?: string }; asked: Promise<unknown> }> {
    const so = armed(crash, await pidOf(crash.victim), known);
    let isOver = false;
    const asked = ask(known === undefined ? { op: "deal" } : { op: "destroy", key: known });
    void asked.then(() => (isOver = true));
    // A destruction answers before the last receipts.
    await until(
      `${crash.event} ${crash.count}`,
      () => so.isDead || (isOver && known === undefined),
    );
    if (!so.isDead) throw new Error(`never came so far: ${JSON.stringify(await asked)}`);
    return { so, asked };
  }

  async function revive(victim: string): Promise<void> {
    if (victim === "dealer") dealer = await startDealer();
    else if (victim === "nats") {
      await cluster.kill("nats");
      await cluster.up();
    } else {
      await cluster.kill(victim);
      await cluster.startNode(victim);
    }
  }

  async function recordOf(key: string): Promise<KeyRecord | undefined> {
    const lives = new KeyLives(members);
    const reader = new StreamReader(auditor);
    const last = await reader.lastSeq(streamNames.keys, allKeys);
    for await (const entry of reader.replay(streamNames.keys, 1, last)) {
      if ("message" in entry && entry.message.subject.endsWith(key)) lives.apply(entry.message);
    }
    return lives.get(key);
  }

  const filesOf = (node: string): string[] =>
    readdirSync(join(cluster.dir, "nodes", node, "data"), { recursive: true }).map(String);
  const holders = (key: string): string[] =>
    nodes.filter((node) => filesOf(node).some((name) => name.includes(`${key}.share`)));
  const leftovers = (): string[] =>
    nodes.flatMap((node) => filesOf(node).filter((name) => name.endsWith(".tmp")));
  async function undealt(): Promise<{ messages: number; oldestMs: number }> {
    const manager = await jetstreamManager(auditor, { checkAPI: false });
    const { messages, first_ts: first } = (await manager.streams.info(streamNames.deals)).state;
    return { messages, oldestMs: messages === 0 ? 0 : Date.now() - Date.parse(first) };
  }

  /** What is inconsistent; undefined when nothing is. */
  async function disorder(key: string, crash: Crash): Promise<string | undefined> {
    const record = await recordOf(key);
    if (record === undefined) return undefined;
    if (leftovers().length > 0) return `left: ${leftovers().join(" ")}`;
    const { messages, oldestMs } = await undealt();
    if (messages > 0 && !(wasServerKilled && oldestMs < forgottenMs)) {
      return `${messages} sealed shares in THSM_DEAL, the oldest for ${oldestMs} ms`;
    }
    const have = holders(key);
    if (record.state === "proposed") return "it is proposed";
    if (record.state === "active") {
      if (crash.phase === "destroy" && crash.victim !== "dealer" && crash.victim !== "nats") {
        return "it is not destroyed";
      }
      const parts = record.holders.map((party) => nodes[party - 1]);
      return have.join() === parts.join()
        ? undefined
        : `${have.join()} hold it for ${parts.join()}`;
    }
    if (have.length > 0) return `it is ${record.state}, but ${have.join()} hold shares`;
    return record.erased.size === parties ? undefined : `${record.erased.size} have said erased`;
  }

  async function expectSigns(record: KeyRecord): Promise<void> {
    const text = `what ${record.keyId} signs`;
    const digest = toBase64url(createHash("sha256").update(text).digest());
    const answer = await ask({ op: "sign", key: record.keyId, digest });
    expect(answer?.error).to.equal(undefined);
    const { proposal } = record;
    const jwk = { kty: "RSA", n: proposal.modulus, e: proposal.publicExponent };
    const pem = createPublicKey({ key: jwk, format: "jwk" }).export({
      type: "spki",
      format: "pem",
    });
    const [key, file, signature] = ["key.pem", "text", "signature"].map((name) =>
      cluster.path(name),
    );
    await writeFile(key ?? "", pem);
    await writeFile(file ?? "", text);
    await writeFile(signature ?? "", fromBase64url(answer?.signature ?? "", "signature"));
    const command = ["dgst", "-sha256", "-verify", key, "-signature", signature, file];
    const check = await cluster.run("openssl", ...command.map((one) => one ?? ""));
    expect(check.text).to.equal("Verified OK\n");
  }

  async function expectCleanHistory(): Promise<void> {
    let outcome: { code: number; text: string } | undefined;
    await until("an audit that reaches the server", async () => {
      outcome = await cluster.thsm("audit", "verify");
      return !outcome.text.includes("ERR_BROKER_UNREACHABLE");
    });
    expect(outcome?.code, outcome?.text).to.equal(0);
  }

  for (const crash of chosen) {
    const { victim, event, count, stage, phase } = crash;
    it(`${victim} dies when ${event} ${count} is ${stage}`, async () => {
      const known = phase === "destroy" ? await deal() : undefined;
      wasServerKilled ||= victim === "nats";
      const { so, asked } = await strike(crash, known);
      await revive(victim);
      const backMs = Date.now();
      await asked;
      const key = so.key ?? "";
      let wrong = await disorder(key, crash);
      while (wrong !== undefined && Date.now() - backMs < settleMs) {
        await sleep(100);
        wrong = await disorder(key, crash);
      }
      const record = await recordOf(key);
      expect(wrong, record?.state).to.equal(undefined);
      if (record?.state === "active") await expectSigns(record);
      rounds += 1;
      if (rounds % auditEvery === 0) await expectCleanHistory();
    });
  }

  it("leaves no sealed share behind", async () => {
    await until("an empty THSM_DEAL", async () => (await undealt()).messages === 0, 180_000);
  });

  it("leaves a history without a finding", expectCleanHistory);
});
