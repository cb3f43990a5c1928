/** @module A real nats-server of one's own, on a free port, gone when the test process is. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, closeSync, openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export interface NatsServerOptions {
  /** Configuration text; its port should be -1. Without it: JetStream, no accounts, no passwords. */
  readonly config?: string;
  /** An empty directory of the test: configuration, log, and the store when `config` is absent. */
  readonly dir: string;
  /** Default: what `findNatsServer` finds. */
  readonly binary?: string;
}

export interface NatsServer {
  /** `nats://127.0.0.1:<port>`. The same after `restart`. */
  readonly url: string;
  /** Where the server serves HTTP monitoring, when the configuration asks for it. */
  readonly monitorUrl: string | undefined;
  readonly pid: number;
  /** SIGTERM, and SIGKILL for one that does not listen. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** The same server again, on the same port and store. Stops it first when it still runs. */
  restart(): Promise<void>;
}

const startDeadlineMs = 15_000;
const stopDeadlineMs = 5_000;
const running = new Set<ChildProcess>();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A nats-server that takes connections. Rejects with the end of its log when it does not come up. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { dir } = options;
  const binary = options.binary ?? findNatsServer();
  await mkdir(dir, { recursive: true });
  const args = ["--ports_file_dir", dir];
  if (options.config === undefined) {
    args.push("-a", "127.0.0.1", "-js", "-sd", join(dir, "store"));
  } else {
    const file = join(dir, "nats-server.conf");
    await writeFile(file, options.config, { mode: 0o600 });
    args.push("-c", file);
  }
  const launchAt = (port: string): Promise<Launched> => launch(binary, [...args, "-p", port], dir);

  let server = await launchAt("-1");
  const url = server.ports.nats[0] ?? "";
  return {
    url,
    monitorUrl: server.ports.monitoring?.[0],
    get pid() {
      return server.pid;
    },
    stop: () => end(server.child, "SIGTERM"),
    kill: () => end(server.child, "SIGKILL"),
    restart: async () => {
      await end(server.child, "SIGTERM");
      server = await launchAt(new URL(url).port);
    },
  };
}

/**
 * The server that `THSM_NATS_SERVER` names, else the one that `findProgram` finds.
 * @throws Error that says what to install.
 */
export function findNatsServer(): string {
  const found = process.env["THSM_NATS_SERVER"] || findProgram("nats-server");
  if (found === undefined) {
    throw new Error("nats-server is missing: run bin/setup, or install the package nats-server");
  }
  return found;
}

/**
 * A program in .tools/bin, where bin/setup puts what it builds, on PATH, or where Debian puts
 * servers: outside the PATH of users other than root.
 */
export function findProgram(name: string): string | undefined {
  return [tools, ...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin"]
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

const tools = fileURLToPath(new URL("../../../.tools/bin", import.meta.url));

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

interface Ports {
  readonly nats: readonly string[];
  readonly monitoring?: readonly string[];
}

interface Launched {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly ports: Ports;
}

async function launch(binary: string, args: readonly string[], dir: string): Promise<Launched> {
  const logFile = join(dir, "nats-server.log");
  const log = openSync(logFile, "a");
  const child = spawn(binary, args, { stdio: ["ignore", log, log] });
  closeSync(log);
  running.add(child);
  const failures: Error[] = [];
  child.once("error", (error) => failures.push(error));
  child.once("close", () => running.delete(child));

  const deadline = Date.now() + startDeadlineMs;
  while (running.has(child) && Date.now() < deadline) {
    // The file appears when the server listens, and is complete a moment later.
    const ports = await readPorts(join(dir, `nats-server_${child.pid}.ports`));
    if (ports !== undefined && child.pid !== undefined) return { child, pid: child.pid, ports };
    await sleep(10);
  }
  await end(child, "SIGKILL");
  const said = (await readFile(logFile, "utf8")).split("\n").slice(-12).join("\n");
  throw new Error(`${binary} did not start: ${failures[0]?.message ?? said}`);
}

async function readPorts(file: string): Promise<Ports | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Ports;
  } catch {
    return undefined;
  }
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (!running.has(child)) return;
  const closed = once(child, "close");
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), stopDeadlineMs);
  await closed;
  clearTimeout(timer);
}
