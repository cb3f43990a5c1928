/**
 * @module A whole development cluster in a directory of its own, driven the way that its operator
 * drives it. Gone, with all its processes, when the test is.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  bringUp,
  killNode,
  startDaemon,
  startOneNode,
  takeDown,
} from "../../src/cli/dev/cluster.js";
import { Processes } from "../../src/cli/dev/processes.js";
import { connect, type HsmClient, type KeyInfo } from "../../src/client/index.js";
import { silentLogger, type Logger } from "../../src/log.js";
import { run, succeed, type Outcome } from "../support/run.js";

export const thsmProgram: string = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

/** In the environment of all that a test starts, so that nothing of it can be overlooked. */
const mark = "THSM_E2E";

export interface ClusterOptions {
  readonly parties?: number;
  readonly threshold?: number;
}

const living = new Set<TestCluster>();
// A test run that is interrupted leaves nothing behind either. Mocha sends SIGTERM after SIGINT.
process.on("exit", () => {
  for (const cluster of living) cluster.abandon();
});
process.once("SIGTERM", () => process.exit(143));

export class TestCluster {
  /** Everything of this cluster lies below it; other files of the test too. */
  readonly root: string = mkdtempSync(join(tmpdir(), "thsm-e2e-"));
  readonly dir: string = join(this.root, "c");
  readonly processes: Processes = new Processes(this.dir);
  readonly env: NodeJS.ProcessEnv = { ...process.env, [mark]: this.root };
  readonly #options: ClusterOptions;
  readonly #scratch: string[] = [];
  readonly #adopted = new Set<ChildProcess>();

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    living.add(this);
  }

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      await cluster.up();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  path(...names: string[]): string {
    return join(this.root, ...names);
  }

  /** Starts what does not run. */
  async up(): Promise<void> {
    const { parties = 5, threshold = 3 } = this.#options;
    // `bringUp` hands its own environment on.
    process.env[mark] = this.root;
    const onStep = (): void => {};
    const found = await bringUp({ dir: this.dir, parties, threshold, token: "dns", onStep });
    Object.assign(this.env, found);
  }

  async down(): Promise<void> {
    await takeDown(this.dir);
  }

  /** SIGKILL, as a crash. */
  async kill(name: string): Promise<void> {
    if (/^n\d+$/.test(name)) await killNode(this.dir, name);
    else await this.processes.kill(name);
  }

  async startNode(name: string): Promise<void> {
    process.env[mark] = this.root;
    await startOneNode(this.dir, name);
  }

  async startDaemon(): Promise<void> {
    process.env[mark] = this.root;
    await startDaemon(this.dir);
  }

  /** A program that a test started: it does not outlive the cluster. */
  adopt<T extends ChildProcess>(child: T): T {
    this.#adopted.add(child);
    child.once("exit", () => this.#adopted.delete(child));
    return child;
  }

  /** The processes of another directory below the root: ended with this cluster. */
  scratch(name: string): Processes {
    this.#scratch.push(this.path(name));
    return new Processes(this.path(name));
  }

  get pin(): string {
    return this.env["THSM_PIN"] ?? "";
  }

  get module(): string {
    return this.env["THSM_PKCS11_MODULE"] ?? "";
  }

  log(name: string): Promise<string> {
    return readFile(this.processes.logFile(name), "utf8");
  }

  /** `thsm` with the cluster's environment. */
  thsm(...parameters: string[]): Promise<Outcome> {
    return run(process.execPath, [thsmProgram, ...parameters], { env: this.env });
  }

  /** `thsm`, and what it says with --json. */
  async thsmJson<T>(...parameters: string[]): Promise<T> {
    const all = [thsmProgram, "--json", ...parameters];
    const { stdout } = await succeed(process.execPath, all, { env: this.env });
    return JSON.parse(stdout.toString("utf8")) as T;
  }

  /** Any program with the cluster's environment. */
  run(program: string, ...parameters: string[]): Promise<Outcome> {
    return run(program, parameters, { env: this.env });
  }

  /** pkcs11-tool, logged in. */
  pkcs11Tool(...parameters: string[]): Promise<Outcome> {
    const login = ["--token-label", "dns", "--login", "--pin", this.pin];
    return this.run("pkcs11-tool", "--module", this.module, ...login, ...parameters);
  }

  /** p11tool, logged in. */
  p11tool(...parameters: string[]): Promise<Outcome> {
    const login = ["--provider", this.module, "--login", "--set-pin", this.pin];
    return this.run("p11tool", "--batch", ...login, ...parameters);
  }

  /** The client's library, in this process and unlocked. */
  async client(log: Logger = silentLogger): Promise<HsmClient> {
    const client = await connect({ configFile: this.env["THSM_CONFIG"] ?? "", log });
    (await client.unlock(this.pin)).fill(0);
    return client;
  }

  /** A new key, made by a client of its own. */
  async makeKey(label: string, modulusBits: number): Promise<KeyInfo> {
    const client = await this.client();
    try {
      return await client.generateKey({ token: "dns", label, modulusBits });
    } finally {
      await client.close();
    }
  }

  /** Processes of this test that are still there, as `pid program`. */
  async survivors(): Promise<string[]> {
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const found = await Promise.all(pids.map((pid) => this.#describe(pid)));
    return found.flatMap((one) => one ?? []);
  }

  /** Ends all, removes all, and fails when something cannot be ended. */
  async close(): Promise<void> {
    try {
      for (const child of this.#adopted) child.kill("SIGKILL");
      for (const dir of [this.dir, ...this.#scratch]) await takeDown(dir);
      // What a killed program started may need a moment to see that it is alone.
      for (let tries = 0; tries < 100 && (await this.survivors()).length > 0; tries++) {
        await sleep(100);
      }
      const left = await this.survivors();
      if (left.length > 0) throw new Error(`still running: ${left.join(", ")}`);
    } finally {
      this.abandon();
    }
  }

  /** The last resort: no waiting. */
  abandon(): void {
    living.delete(this);
    delete process.env[mark];
    for (const child of this.#adopted) child.kill("SIGKILL");
    for (const name of namesIn(join(this.dir, "run"))) {
      const { pid, startTime } = JSON.parse(readFileSync(join(this.dir, "run", name), "utf8")) as {
        pid: number;
        startTime: string;
      };
      if (startTimeOf(pid) === startTime) process.kill(pid, "SIGKILL");
    }
    rmSync(this.root, { recursive: true, force: true });
  }

  async #describe(pid: string): Promise<string | undefined> {
    if (Number(pid) === process.pid) return undefined;
    const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
    if (!environment.split("\0").includes(`${mark}=${this.root}`)) return undefined;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return command === "" ? undefined : `${pid} ${command.replaceAll("\0", " ")}`;
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
