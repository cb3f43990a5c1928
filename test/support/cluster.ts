/**
 * @module A whole cluster but for its nodes: a real nats-server with the rendered permissions,
 * provisioned streams, identities in files. What answers is up to the test.
 */
import { mkdtempSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createUser } from "@nats-io/nkeys";
import type { NatsConnection } from "nats";
import { provisioner } from "../../src/cli/nats-permissions.js";
import { renderNatsConfig } from "../../src/cli/nats-config.js";
import { readCluster, type Cluster } from "../../src/identity/cluster.js";
import { createIdentityFile, readIdentityFile } from "../../src/identity/identity-file.js";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { silentLogger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import { provision } from "../../src/streams/provision.js";
import type { StreamLimits } from "../../src/streams/settings.js";
import { startNatsServer, type NatsServer } from "./nats-server.js";
import { failOnUnhandledRejections } from "./unhandled.js";

failOnUnhandledRejections();

const mebibyte = 1 << 20;
export const testLimits: StreamLimits = {
  requests: 64 * mebibyte,
  shares: 128 * mebibyte,
  audit: 64 * mebibyte,
  keys: 64 * mebibyte,
  deals: 8 * mebibyte,
};

export const nodeNames: readonly string[] = ["n1", "n2", "n3", "n4", "n5"];
/** alice and bob share the token "zones", eve has "other". */
export const clientNames: readonly string[] = ["alice", "bob", "eve"];

const operatorName = "op";

export interface TestCluster {
  readonly dir: string;
  readonly server: NatsServer;
  readonly cluster: Cluster;
  /** Logs in as a member, or as the provisioner. Closed with the cluster. */
  connect(name: string): Promise<NatsConnection>;
  key(name: string): IdentityKey;
  /** client.toml of a client, with further lines. */
  clientConfig(name: string, ...lines: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface TestClusterOptions {
  readonly limits?: StreamLimits;
  readonly nodes?: readonly string[];
  /** Leave the streams out. */
  readonly isBare?: boolean;
}

export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const { limits = testLimits, nodes = nodeNames, isBare = false } = options;
  const dir = mkdtempSync(join(tmpdir(), "thsm-test-"));
  const logins = new Map<string, string>();
  const keys = new Map<string, IdentityKey>();
  const members: string[] = [];
  for (const name of [provisioner, ...nodes, ...clientNames, operatorName]) {
    const login = createUser();
    logins.set(name, login.getPublicKey());
    await writeFile(join(dir, `${name}.nk`), login.getSeed(), { mode: 0o600 });
    if (name === provisioner) continue;
    const file = join(dir, `${name}.json`);
    const { text } = await createIdentityFile(file, name);
    keys.set(name, (await readIdentityFile(file)).openUnprotected());
    const other = name === operatorName ? "operator" : "client";
    const role = nodes.includes(name) ? "node" : other;
    members.push(
      `[[${role}]]\nname = "${name}"\nidentity = "${text}"\nlogin = "${login.getPublicKey()}"`,
    );
  }
  const users = (names: readonly string[]): { name: string; nkey: string }[] =>
    names.map((name) => ({ name, nkey: logins.get(name) ?? "" }));
  const config = renderNatsConfig({
    serverName: "test",
    host: "127.0.0.1",
    port: -1,
    storeDir: join(dir, "store"),
    nodes: users(nodes),
    clients: users(clientNames),
    operators: users([operatorName]),
    auditors: [],
    provisioner: logins.get(provisioner) ?? "",
    archivers: [],
  });
  const server = await startNatsServer({ config, dir: join(dir, "nats") });
  const tokens = [
    `[[token]]\nname = "zones"\nclients = ["alice", "bob"]`,
    `[[token]]\nname = "other"\nclients = ["eve"]`,
  ];
  const head = `version = 1\nname = "test"\nservers = ["${server.url}"]`;
  await writeFile(join(dir, "cluster.toml"), [head, ...members, ...tokens].join("\n"));

  const connections: NatsConnection[] = [];
  const connect = async (name: string): Promise<NatsConnection> => {
    const connection = await connectBus({
      servers: [server.url],
      name,
      loginFile: join(dir, `${name}.nk`),
      log: silentLogger,
      timeoutMs: 20_000,
    });
    connections.push(connection);
    return connection;
  };
  if (!isBare) await provision(await connect(provisioner), limits, nodes, 1);
  return {
    dir,
    server,
    cluster: await readCluster(join(dir, "cluster.toml")),
    connect,
    key(name) {
      const key = keys.get(name);
      if (key === undefined) throw new RangeError(`no member ${name}`);
      return key;
    },
    async clientConfig(name, ...lines) {
      const path = join(dir, `${name}.toml`);
      const own = `version = 1\nname = "${name}"\ncluster = "cluster.toml"`;
      const files = `identityFile = "${name}.json"\nloginFile = "${name}.nk"`;
      await writeFile(path, [own, files, ...lines].join("\n"));
      return path;
    },
    async stop() {
      for (const connection of connections) await connection.close();
      await server.kill();
      await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Polls until `condition` gives something; fails after `timeMs`. */
export async function eventually<T>(
  what: string,
  condition: () => Promise<T | undefined> | T | undefined,
  timeMs = 8000,
): Promise<T> {
  const deadline = Date.now() + timeMs;
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeMs} ms`);
    await sleep(10);
  }
}
