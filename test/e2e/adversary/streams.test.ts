/**
 * @module Whoever owns the servers changes history: streams deleted, emptied, made anew, rolled back to a
 * backup, their numbers given to other messages. Nodes notice and say so under their signatures, the client
 * is told, no share is lost; and the history put back, or accepted by the operator, lets all go on.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { createHash } from "node:crypto";
import { cp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { connect, nkeyAuthenticator, type NatsConnection } from "nats";
import { startNats } from "../../../src/cli/dev/cluster.js";
import type { HsmClient, KeyInfo } from "../../../src/client/index.js";
import { HsmError } from "../../../src/errors.js";
import { readCluster } from "../../../src/identity/cluster.js";
import { succeed } from "../../support/run.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { until } from "../until.js";

const nodes = ["n1", "n2", "n3", "n4", "n5"];

describe("changed history", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let client: HsmClient;
  let key: KeyInfo;
  const seed = createUser();

  before(async () => {
    cluster = await TestCluster.start();
    await cluster.processes.stop("pkcs11d");
    await addBreakGlass();
    client = await cluster.client();
    key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
  });
  after(async () => {
    await client.close();
    await cluster.close();
  });

  /** A user of account THSM who may do everything, as an intruder or for an emergency. */
  async function addBreakGlass(): Promise<void> {
    const file = join(cluster.dir, "nats/server.conf");
    const text = await readFile(file, "utf8");
    const user = `      { nkey: "${seed.getPublicKey()}" }\n`;
    await writeFile(file, text.replace("      # provisioner\n", `${user}      # provisioner\n`));
    await cluster.processes.stop("nats");
    await startServer();
  }

  async function startServer(): Promise<void> {
    const config = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
    await startNats(cluster.dir, config, cluster.processes);
  }

  async function breakGlass<T>(work: (connection: NatsConnection) => Promise<T>): Promise<T> {
    const { servers } = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
    const authenticator = nkeyAuthenticator(seed.getSeed());
    const connection = await connect({ servers: [...servers], authenticator });
    try {
      return await work(connection);
    } finally {
      await connection.close();
    }
  }

  const store = (): string => join(cluster.dir, "nats/store");
  const sign = async (timeoutMs = 4000): Promise<HsmError | undefined> => {
    const session = await client.openSession("dns", "changed");
    try {
      const data = createHash("sha256").update(String(Math.random())).digest();
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      await session.sign(input, { timeoutMs });
      return undefined;
    } catch (error) {
      if (error instanceof HsmError) return error;
      throw error;
    } finally {
      session.close().catch(() => undefined);
    }
  };
  const signs = async (): Promise<boolean> => (await sign()) === undefined;

  async function shareFiles(): Promise<string[]> {
    const lists = await Promise.all(
      nodes.map((name) => readdir(join(cluster.dir, "nodes", name, "data/keys"))),
    );
    return lists.map((files) => files.toSorted().join());
  }

  /** What a quorum of the nodes, which the client asks first, has seen is on their disks. */
  async function marked(): Promise<void> {
    for (let i = 0; i < 3; i++) await until("signing works", signs);
    await until("three nodes have written down what they saw", async () => {
      const marks = await Promise.all(
        nodes.map(async (name) => {
          const file = join(cluster.dir, "nodes", name, "data/seen");
          const text = await readFile(file, "utf8").catch(() => "{}");
          return JSON.parse(text) as Record<string, { last: number } | undefined>;
        }),
      );
      const isMarked = (stream: string): boolean =>
        marks.filter((seen) => (seen[stream]?.last ?? 0) > 0).length >= 3;
      return isMarked("THSM_REQ") && isMarked("THSM_KEY");
    });
  }

  /** No signature, an error that names what was seen, a signed refusal, a beat that says so. */
  async function expectRefusal(what: RegExp): Promise<void> {
    let told = "";
    await until("the client is told what the nodes saw", async () => {
      const error = await sign();
      told = `${error?.code} ${error?.message}`;
      return error?.code === "ERR_AUDIT_MISMATCH";
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; last: ${told}`);
    });
    expect(told).to.match(what);
    const refusals = (await readHistory(cluster))
      .map(bodyOf)
      .filter(({ kind }) => kind === "refusal");
    expect(refusals.at(-1)?.["code"]).to.equal("ERR_AUDIT_MISMATCH");
    expect(String(refusals.at(-1)?.["reason"])).to.match(what);
    const logs = await Promise.all(nodes.map((name) => cluster.log(name)));
    expect(logs.filter((log) => log.includes("history broken")).length).to.be.at.least(3);
    const heard = await breakGlass(
      (connection) =>
        new Promise<string>((resolve) => {
          connection.subscribe("thsm.v1.beat.*", {
            callback: (_, { data }) => {
              const { halted } = JSON.parse(Buffer.from(data).toString("utf8")) as {
                halted?: string;
              };
              if (halted !== undefined) resolve(halted);
            },
          });
        }),
    );
    expect(heard).to.match(what);
  }

  async function acceptAll(): Promise<void> {
    for (const name of nodes) {
      await cluster.processes.stop(name);
      const program = new URL("../../../src/node/main.js", import.meta.url).pathname;
      const config = join(cluster.dir, "nodes", name, "node.toml");
      const { text } = await succeed(process.execPath, [
        program,
        "--config",
        config,
        "--accept-history",
      ]);
      expect(text).to.equal(`${name}: the next start takes the streams as they are\n`);
      await cluster.startNode(name);
    }
  }

  it("a store rolled back to a backup: nodes refuse, and go on by themselves when it is put back", async () => {
    await marked();
    await cluster.processes.stop("nats");
    await cp(store(), cluster.path("backup"), { recursive: true });
    await startServer();
    await until("signing works", signs);
    await marked();
    const shares = await shareFiles();
    await cluster.processes.stop("nats");
    await rename(store(), cluster.path("newest"));
    await cp(cluster.path("backup"), store(), { recursive: true });
    await startServer();
    await expectRefusal(
      /THSM_REQ (ends at \d+, and had \d+ messages before|has held two requests)/,
    );
    expect(await shareFiles()).to.deep.equal(shares);
    // The operator finds the newest copy.
    await cluster.processes.stop("nats");
    await rm(store(), { recursive: true });
    await rename(cluster.path("newest"), store());
    for (const name of nodes) await cluster.processes.stop(name);
    await startServer();
    for (const name of nodes) await cluster.startNode(name);
    await until("signing works", signs);
    expect(await shareFiles()).to.deep.equal(shares);
  });

  it("a stream deleted and made again: nodes refuse until their operator accepts it", async () => {
    await marked();
    const shares = await shareFiles();
    await breakGlass(async (connection) => {
      const manager = await jetstreamManager(connection, { checkAPI: false });
      await manager.streams.delete("THSM_REQ");
    });
    const error = await sign(1500);
    expect(error?.code).to.equal("ERR_BROKER_UNREACHABLE");
    expect(error?.message).to.include("THSM_REQ");
    await cluster.thsm("provision", "--dir", cluster.dir);
    await expectRefusal(
      /THSM_REQ (is gone|was made at .*: it is another one|has held two requests)/,
    );
    await acceptAll();
    await until("signing works", signs);
    expect(await shareFiles()).to.deep.equal(shares);
  });

  it("a key directory erased by STREAM.UPDATE: nodes refuse, and keep their shares", async () => {
    await marked();
    const shares = await shareFiles();
    await breakGlass(async (connection) => {
      const manager = await jetstreamManager(connection, { checkAPI: false });
      const change = { max_msgs: 1, discard: "old" } as const;
      await manager.streams.update("THSM_KEY", change);
    });
    await expectRefusal(/THSM_KEY begins with message \d+: those before it are gone/);
    for (const name of nodes) {
      await cluster.processes.stop(name);
      await cluster.startNode(name);
    }
    await until("the nodes have noticed again", async () => {
      const logs = await Promise.all(nodes.map((name) => cluster.log(name)));
      return logs.every((log) => log.split("history broken").length > 2);
    });
    expect(await shareFiles()).to.deep.equal(shares);
  });

  it("an empty server in its place: nodes refuse, and keep their shares", async () => {
    const shares = await shareFiles();
    await cluster.processes.stop("nats");
    await rm(store(), { recursive: true });
    await startServer();
    await until("the nodes have noticed", async () => {
      const logs = await Promise.all(nodes.map((name) => cluster.log(name)));
      return logs.every((log) => /THSM_\w+ was made at [^"]*: it is another one/.test(log));
    });
    const error = await sign(1500);
    expect(error?.code).to.be.oneOf(["ERR_AUDIT_MISMATCH", "ERR_QUORUM_NOT_REACHED"]);
    expect(await shareFiles()).to.deep.equal(shares);
  });
});
