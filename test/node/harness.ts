/**
 * @module A whole cluster for the tests of this folder: a real nats-server with the rendered
 * permissions, provisioned streams, identities in files, and thsm-node as real processes.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createUser, type KeyPair } from "@nats-io/nkeys";
import { expect } from "chai";
import type { NatsConnection } from "nats";
import { renderNatsConfig } from "../../src/cli/nats-config.js";
import { readCluster, type Cluster } from "../../src/identity/cluster.js";
import { createIdentityFile, readIdentityFile } from "../../src/identity/identity-file.js";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { silentLogger } from "../../src/log.js";
import type { JournalEntry } from "../../src/node/journal-segments.js";
import { Journal } from "../../src/node/journal.js";
import { connectBus } from "../../src/streams/connection.js";
import { verifyMessage, type StoredMessage } from "../../src/streams/envelope.js";
import { provision } from "../../src/streams/provision.js";
import { StreamReader } from "../../src/streams/read.js";
import type { StreamLimits } from "../../src/streams/settings.js";
import {
  allAudit,
  allKeys,
  allShares,
  streamNames,
  type StreamName,
} from "../../src/streams/subjects.js";
import { parseJson } from "../../src/validate.js";
import { FakeClient } from "./fake-client.js";
import { startNatsServer, type NatsServer } from "../support/nats-server.js";

const mebibyte = 1 << 20;
export const limits: StreamLimits = {
  requests: 64 * mebibyte,
  shares: 256 * mebibyte,
  audit: 64 * mebibyte,
  keys: 64 * mebibyte,
  deals: 8 * mebibyte,
};
const main = fileURLToPath(new URL("../../src/node/main.js", import.meta.url));
/** What the first line of main.js says, which an installed command obeys. */
const asInstalled = ["--max-semi-space-size=2"];
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export const nodeNames: readonly string[] = ["n1", "n2", "n3"];
export const clientNames: readonly string[] = ["alice", "bob", "eve"];
const auditor = "aud";

export interface Harness {
  readonly dir: string;
  readonly server: NatsServer;
  readonly cluster: Cluster;
  /** A member's identity key. */
  key: (name: string) => IdentityKey;
  /** Logs in as a member. */
  connect: (name: string) => Promise<NatsConnection>;
  /** A client that is connected. */
  client: (name: string) => Promise<FakeClient>;
  /** node.toml of a node, with further lines. Returns its path. */
  configure: (name: string, ...lines: string[]) => Promise<string>;
  dataDir: (name: string) => string;
  /** What a node that does not run has journaled and not published: it died in between. */
  journal: (
    name: string,
    stream: StreamName,
    subject: string,
    body: { readonly time: string },
  ) => Promise<JournalEntry>;
  /** Everything that a node has on the streams, each message once, by its number. */
  chainOf: (node: string) => Promise<ChainedMessage[]>;
  stop: () => Promise<void>;
}

/** alice and bob share the token "zones"; eve has "other" for herself. */
export async function startHarness(streamLimits: StreamLimits = limits): Promise<Harness> {
  const dir = mkdtempSync(join(tmpdir(), "thsm-node-"));
  const logins: Record<string, KeyPair> = { provisioner: createUser() };
  const keys: Record<string, IdentityKey> = {};
  const members: string[] = [];
  for (const name of [...nodeNames, ...clientNames, auditor]) {
    const login = createUser();
    logins[name] = login;
    const publicKey = await createIdentityFile(join(dir, `${name}.identity`), name);
    keys[name] = (await readIdentityFile(join(dir, `${name}.identity`))).openUnprotected();
    const seed = new TextDecoder().decode(login.getSeed());
    await writeFile(join(dir, `${name}.nk`), seed, { mode: 0o600 });
    const role = name === auditor ? "auditor" : nodeNames.includes(name) ? "node" : "client";
    members.push(
      `[[${role}]]\nname = "${name}"\nidentity = "${publicKey.text}"\nlogin = "${login.getPublicKey()}"\n`,
    );
  }
  const seed = new TextDecoder().decode(logins["provisioner"]?.getSeed());
  await writeFile(join(dir, "provisioner.nk"), seed, { mode: 0o600 });
  const users = (names: readonly string[]) =>
    names.map((name) => ({ name, nkey: logins[name]?.getPublicKey() ?? "" }));
  const config = renderNatsConfig({
    serverName: "test",
    host: "127.0.0.1",
    port: -1,
    storeDir: join(dir, "store"),
    nodes: users(nodeNames),
    clients: users(clientNames),
    operators: [],
    auditors: users([auditor]),
    provisioner: logins["provisioner"]?.getPublicKey() ?? "",
    archivers: [],
  });
  const server = await startNatsServer({ config, dir: join(dir, "nats") });
  await writeFile(
    join(dir, "cluster.toml"),
    [
      `version = 1\nname = "test"\nservers = ["${server.url}"]`,
      ...members,
      `[[token]]\nname = "zones"\nclients = ["alice", "bob"]`,
      `[[token]]\nname = "other"\nclients = ["eve"]`,
    ].join("\n"),
  );
  const connections: NatsConnection[] = [];
  const connect = async (name: string): Promise<NatsConnection> => {
    const connection = await connectBus({
      servers: [server.url],
      name,
      loginFile: join(dir, `${name}.nk`),
      log: silentLogger,
      timeoutMs: 5000,
    });
    connections.push(connection);
    return connection;
  };
  await provision(await connect("provisioner"), streamLimits, nodeNames, 1);
  const cluster = await readCluster(join(dir, "cluster.toml"));
  const clients: FakeClient[] = [];
  const key = (name: string): IdentityKey => {
    const found = keys[name];
    if (found === undefined) throw new Error(`no member is named ${name}`);
    return found;
  };
  const dataDir = (name: string): string => join(dir, `data-${name}`);
  return {
    dir,
    server,
    cluster,
    key,
    connect,
    async client(name) {
      const standIn = { name: "n3", connection: await connect("n3"), key: key("n3") };
      const client = new FakeClient(name, await connect(name), key(name), cluster, standIn);
      clients.push(client);
      return client;
    },
    dataDir,
    async journal(name, stream, subject, body) {
      const options = { key: key(name), cluster, log: silentLogger, onFailure: () => undefined };
      const directory = join(dataDir(name), "journal");
      const { journal } = await Journal.open({ ...options, directory }, () => false);
      const entry = await journal.speak(stream, subject, body);
      await journal.close();
      return entry;
    },
    async configure(name, ...lines) {
      const path = join(dir, `${name}.toml`);
      const text = [
        `version = 1\nname = "${name}"\ncluster = "cluster.toml"`,
        `identityFile = "${name}.identity"\nloginFile = "${name}.nk"`,
        `dataDir = "data-${name}"`,
        ...lines,
      ].join("\n");
      await writeFile(path, text);
      return path;
    },
    async chainOf(node) {
      const reader = new StreamReader(await connect(auditor));
      return await readChain(reader, cluster, node);
    },
    async stop() {
      for (const client of clients) client.close();
      for (const connection of connections) await connection.close();
      for (const child of running) child.kill("SIGKILL");
      await server.stop();
      await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** A message of a node's chain as its streams hold it. */
export interface ChainedMessage {
  readonly n: number;
  readonly prev: string;
  readonly message: StoredMessage;
}

async function readChain(
  reader: StreamReader,
  cluster: Cluster,
  node: string,
): Promise<ChainedMessage[]> {
  const chain = new Map<string, ChainedMessage>();
  for (const [stream, filter] of [
    [streamNames.shares, allShares],
    [streamNames.audit, allAudit],
    [streamNames.keys, allKeys],
  ] as const) {
    const last = await reader.lastSeq(stream, filter);
    for await (const entry of reader.replay(stream, 1, last)) {
      if (!("message" in entry) || verifyMessage(cluster, entry.message).name !== node) continue;
      const { n, prev } = parseJson(entry.message.payload) as ChainedMessage;
      chain.set(entry.message.hash, { n, prev, message: entry.message });
    }
  }
  return [...chain.values()].toSorted((a, b) => a.n - b.n);
}

/** Fails unless the messages are numbered 1, 2, 3… and each names the one before. */
export function expectContiguous(chain: readonly ChainedMessage[]): void {
  let before = "0".repeat(64);
  for (const [index, { n, prev, message }] of chain.entries()) {
    expect(n).to.equal(index + 1);
    expect(prev).to.equal(before);
    before = message.hash;
  }
}

export interface NodeProcess {
  readonly child: ChildProcess;
  /** Its log lines and last words so far. */
  output(): string;
  /** Resolves when a line with this text is logged; rejects when the process ends before. */
  logged(text: string): Promise<void>;
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit status. */
  stop(): Promise<number | null>;
  ended(): Promise<number | null>;
  /** What it occupies of the machine's memory. */
  residentBytes(): Promise<number>;
}

/** A thsm-node process; `args` in front of `--config`. */
export function spawnNode(config: string, ...args: string[]): NodeProcess {
  const child = spawn(process.execPath, [...asInstalled, main, ...args, "--config", config], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let output = "";
  const exit = once(child, "close").then(() => {
    running.delete(child);
    return child.exitCode;
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => (output += text));
  }
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<number | null> => {
    child.kill(signal);
    return await exit;
  };
  return {
    child,
    output: () => output,
    async logged(text) {
      while (!output.includes(text)) {
        if (!running.has(child)) throw new Error(`thsm-node ended: ${output}`);
        await sleep(5);
      }
    },
    kill: async () => void (await end("SIGKILL")),
    stop: () => end("SIGTERM"),
    ended: () => exit,
    async residentBytes() {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
    },
  };
}

/** A node that serves. */
export async function startServing(config: string): Promise<NodeProcess> {
  const node = spawnNode(config);
  await node.logged('"serving"');
  return node;
}
