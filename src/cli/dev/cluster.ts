/**
 * @module A development cluster: real nats-server with permissions, n node processes and the
 * PKCS#11 daemon, all below one directory. Bringing it up again starts what does not run.
 */
import { readFile, readdir, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describeError, HsmError } from "../../errors.js";
import { readCluster, type Cluster } from "../../identity/cluster.js";
import { writeSecretFile } from "../../identity/secret-file.js";
import { createLogger } from "../../log.js";
import { connectBus } from "../../streams/connection.js";
import {
  createWholeCluster,
  fillDirectory,
  moduleConfig,
  type FolderOf,
} from "../cluster-files.js";
import { findNatsServer } from "../programs.js";
import { provisionCluster } from "../provision.js";
import { Processes } from "./processes.js";

/** dist/src, below which the other commands lie. */
const built = fileURLToPath(new URL("../../", import.meta.url));
const moduleFile = resolve(built, "../module/libthsm-pkcs11.so");
const startMs = 20_000;

const folders = {
  nats: "nats",
  node: (name: string) => join("nodes", name),
  client: "client",
  operator: "operator",
  auditor: "auditor",
  provisioner: "provisioner",
};
const folderOf: FolderOf = ({ role, name }) => {
  if (role === "server") return folders.nats;
  return role === "node" ? folders.node(name) : role;
};

/** sun_path on Linux, with its closing zero. */
const longestSocketPath = 107;

export interface DevOptions {
  readonly dir: string;
  readonly parties: number;
  readonly threshold: number;
  readonly token: string;
  readonly onStep: (text: string) => void;
}

/** The environment that programs need, as `export` lines tell it. */
export type DevEnvironment = Readonly<Record<string, string>>;

/** Creates the cluster's files if need be and starts what does not run. */
export async function bringUp(options: DevOptions): Promise<DevEnvironment> {
  const dir = resolve(options.dir);
  const { onStep } = options;
  if (Buffer.byteLength(join(dir, "pkcs11d.sock")) > longestSocketPath) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `${dir} is too long for a Unix socket in it: choose a directory with a shorter path`,
    );
  }
  if (!(await exists(dir))) {
    onStep(`creating identities and configuration in ${dir}`);
    await create(options, dir);
  }
  const cluster = await readCluster(join(dir, folders.provisioner, "cluster.toml"));
  const processes = new Processes(dir);
  onStep("starting nats-server");
  await startNats(dir, cluster, processes);
  onStep(`starting ${cluster.nodes.length} nodes`);
  for (const { name } of cluster.nodes) await startNode(dir, name, processes);
  await waitForNodes(dir, cluster, processes);
  onStep("starting the PKCS#11 daemon");
  await startDaemon(dir, processes);
  return await environmentOf(dir, cluster);
}

/** Stops everything that was started below the directory; keeps its files. */
export async function takeDown(dir: string): Promise<string[]> {
  const processes = new Processes(resolve(dir));
  const names = await processes.known();
  // The daemon first, so that it can still close its sessions; the bus last.
  const nodes = names.filter((name) => name !== "pkcs11d" && name !== "nats");
  for (const stage of [["pkcs11d"], nodes, ["nats"]]) {
    await Promise.all(stage.map((name) => processes.stop(name)));
  }
  return names;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` when there is no such node */
export async function stopNode(dir: string, name: string): Promise<boolean> {
  await requireNode(dir, name);
  return await new Processes(resolve(dir)).stop(name);
}

/** SIGKILL. @throws HsmError `ERR_INVALID_ARGUMENT` when there is no such node */
export async function killNode(dir: string, name: string): Promise<boolean> {
  await requireNode(dir, name);
  return await new Processes(resolve(dir)).kill(name);
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` when there is no such node, or it does not start */
export async function startOneNode(dir: string, name: string): Promise<void> {
  await requireNode(dir, name);
  await startNode(resolve(dir), name, new Processes(resolve(dir)));
}

/** Where an auditor of a development cluster has its configuration. */
export function auditorConfigOf(dir: string): string {
  return join(resolve(dir), folders.auditor, "auditor.toml");
}

/** Starts nats-server on a cluster's streams unless it runs; returns whether it was started. */
export async function startNats(
  dir: string,
  cluster: Cluster,
  processes: Processes,
): Promise<boolean> {
  if ((await processes.find("nats")) !== undefined) return false;
  await processes.start({
    name: "nats",
    command: findNatsServer(),
    args: ["-c", join(dir, folders.nats, "server.conf")],
  });
  const { hostname, port } = new URL(cluster.servers[0] ?? "");
  await waitFor("nats-server", processes, "nats", () =>
    accepts({ host: hostname, port: Number(port) }),
  );
  const configFile = join(dir, folders.provisioner, "provisioner.toml");
  await provisionCluster({ configFile });
  return true;
}

async function startNode(dir: string, name: string, processes: Processes): Promise<void> {
  await processes.start({
    name,
    command: process.execPath,
    args: [
      // As in the first line of the installed command: a smaller young heap, a smaller node.
      "--max-semi-space-size=2",
      join(built, "node/main.js"),
      "--config",
      join(dir, folders.node(name), "node.toml"),
    ],
  });
}

/** A node is there when it beats. */
async function waitForNodes(dir: string, cluster: Cluster, processes: Processes): Promise<void> {
  const connection = await connectBus({
    servers: cluster.servers,
    name: "auditor",
    loginFile: join(dir, folders.auditor, "login.nk"),
    log: createLogger("thsm", "error"),
    timeoutMs: 5000,
  });
  const heard = new Set<string>();
  try {
    connection.subscribe("thsm.v1.beat.*", {
      callback: (_error, received) => {
        heard.add(received.subject.split(".").at(-1) ?? "");
      },
    });
    for (const { name } of cluster.nodes) {
      await waitFor(`node ${name}`, processes, name, () => Promise.resolve(heard.has(name)));
    }
  } finally {
    await connection.close();
  }
}

/** Unless it runs; resolves when it listens. */
export async function startDaemon(
  dir: string,
  processes: Processes = new Processes(resolve(dir)),
): Promise<void> {
  const config = join(dir, folders.client, "pkcs11d.toml");
  await processes.start({
    name: "pkcs11d",
    command: process.execPath,
    args: [join(built, "pkcs11-bridge/main.js"), "--config", config],
  });
  const path = join(dir, "pkcs11d.sock");
  await waitFor("the PKCS#11 daemon", processes, "pkcs11d", () => accepts({ path }));
}

async function create({ parties, threshold, token }: DevOptions, dir: string): Promise<void> {
  const port = await freePort();
  const socket = join(dir, "pkcs11d.sock");
  await fillDirectory(dir, async () => {
    const { pin } = await createWholeCluster({
      dir,
      folderOf,
      name: "dev",
      parties,
      threshold,
      token,
      hosts: ["127.0.0.1"],
      port,
      natsDir: join(dir, folders.nats),
      natsStoreDir: join(dir, folders.nats, "store"),
      memberDir: (part) => join(dir, folderOf(part)),
      dataDir: "data",
      socket,
      pinSource: "pin",
      tls: false,
    });
    await writeSecretFile(join(dir, folders.client, "pin"), `${pin}\n`);
    await writeFile(join(dir, "pkcs11.conf"), moduleConfig(socket, token));
  });
}

async function environmentOf(dir: string, cluster: Cluster): Promise<DevEnvironment> {
  return {
    THSM_DIR: dir,
    THSM_CONFIG: join(dir, folders.client, "client.toml"),
    THSM_AUDITOR_CONFIG: join(dir, folders.auditor, "auditor.toml"),
    THSM_OPERATOR_CONFIG: join(dir, folders.operator, "operator.toml"),
    THSM_PKCS11_CONF: join(dir, "pkcs11.conf"),
    THSM_PKCS11_MODULE: moduleFile,
    THSM_PIN: (await readFile(join(dir, folders.client, "pin"), "utf8")).trim(),
    NATS_URL: cluster.servers[0] ?? "",
    NATS_NKEY: join(dir, folders.auditor, "login.nk"),
    NATS_CONTEXT: join(dir, folders.auditor, "nats-context.json"),
  };
}

async function waitFor(
  what: string,
  processes: Processes,
  name: string,
  isReady: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + startMs;
  while (!(await isReady())) {
    const isRunning = (await processes.find(name)) !== undefined;
    if (!isRunning || Date.now() > deadline) {
      const end = await processes.logEnd(name);
      throw new HsmError(
        "ERR_INVALID_CONFIG",
        `${what} did not start; the end of ${processes.logFile(name)}:\n${end}`,
      );
    }
    await sleep(30);
  }
}

function accepts(where: { host: string; port: number } | { path: string }): Promise<boolean> {
  return new Promise((resolvePromise) => {
    const socket = createConnection(where);
    socket.once("connect", () => {
      socket.destroy();
      resolvePromise(true);
    });
    socket.once("error", () => resolvePromise(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolvePromise) => server.once("listening", resolvePromise));
  const address = server.address();
  await new Promise((resolvePromise) => server.close(resolvePromise));
  if (address === null || typeof address === "string") {
    throw new HsmError("ERR_INTERNAL", "no free port");
  }
  return address.port;
}

async function exists(dir: string): Promise<boolean> {
  const entries: string[] = await readdir(dir).catch(() => []);
  if (entries.length === 0) return false;
  if (!entries.includes(folders.provisioner)) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `${dir} holds other files: name a directory that is absent or empty, or a cluster's`,
    );
  }
  return true;
}

async function requireNode(dir: string, name: string): Promise<void> {
  const file = join(resolve(dir), folders.provisioner, "cluster.toml");
  try {
    const cluster = await readCluster(file);
    if (cluster.find("node", name) !== undefined) return;
    const names = cluster.nodes.map((node) => node.name).join(", ");
    throw new HsmError("ERR_INVALID_ARGUMENT", `there is no node ${name}; there are ${names}`);
  } catch (cause) {
    if (cause instanceof HsmError && cause.code === "ERR_INVALID_ARGUMENT") throw cause;
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `${dirname(file)} is not a development cluster's (${describeError(cause)})`,
      { cause },
    );
  }
}
