/** @module Builds the C module and its test program, and runs programs and daemons around them. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { FakeDaemonOptions } from "./fake-daemon.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const build = join(root, "dist/test-module");
const tests = join(root, "test/pkcs11-bridge");
export const moduleSources: string = join(root, "src/pkcs11-bridge/module");
const run = promisify(execFile);

export const pin = "1234";
export const modulePath: string = join(build, "libthsm-pkcs11.so");
export const asanModulePath: string = join(build, "asan/libthsm-pkcs11.so");

let built: Promise<void> | undefined;

/** Builds the module and the C programs of the tests, once in a test run. Warnings are errors. */
export function buildModule(): Promise<void> {
  return (built ??= buildAll());
}

async function buildAll(): Promise<void> {
  await run("make", ["-s", "-j2", "-C", moduleSources, `BUILD=${build}`, "all", "asan"]);
  const { stdout } = await run("pkg-config", ["--cflags", "p11-kit-1"]);
  const flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", stdout.trim()];
  const conformance = readdirSync(join(tests, "conformance")).filter((name) => name.endsWith(".c"));
  const programs = {
    "module-test": [join(tests, "module-test.c")],
    conformance: conformance.map((name) => join(tests, "conformance", name)),
  };
  for (const [name, sources] of Object.entries(programs)) {
    const link = ["-ldl", "-pthread"];
    await run("cc", [...flags, ...sources, "-o", join(build, name), ...link]);
    const sanitizers = "-fsanitize=address,undefined";
    await run("cc", [...flags, sanitizers, ...sources, "-o", join(build, "asan", name), ...link]);
  }
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory with a module configuration, and the programs that use it. */
export class Bench {
  readonly directory: string = mkdtempSync(join(tmpdir(), "thsm-p11-"));
  /** Where the daemon listens; the module's configuration has what it is at first. */
  socket: string = join(this.directory, "daemon.sock");
  readonly stateFile: string = join(this.directory, "state.json");
  readonly environment: NodeJS.ProcessEnv;
  /** When a program that hangs is ended. */
  programTimeoutMs = 50_000;
  #daemon: ChildProcess | undefined;

  constructor(timeoutSeconds = 10) {
    const conf = join(this.directory, "pkcs11.conf");
    writeFileSync(
      conf,
      `# test\nsocket = ${this.socket}\ntoken = dns\n\ntoken = other\ntimeout = ${timeoutSeconds}\n`,
    );
    this.environment = { ...process.env, THSM_PKCS11_CONF: conf, THSM_PKCS11_DEBUG: "1" };
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Starts the daemon as a process of its own and waits until it listens. */
  async startDaemon(options: Partial<FakeDaemonOptions> = {}): Promise<void> {
    const all = { socket: this.socket, stateFile: this.stateFile, tokens: ["dns", "other"] };
    const script = fileURLToPath(new URL("./fake-daemon.js", import.meta.url));
    this.#daemon = spawn(process.execPath, [script, JSON.stringify({ ...all, ...options })], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    for (let tries = 0; tries < 500; tries++) {
      if (await isListening(this.socket)) return;
      await delay(20);
    }
    throw new Error("the daemon does not listen");
  }

  /** SIGTERM drains, SIGKILL does not, SIGSTOP leaves a daemon that is there and says nothing. */
  async stopDaemon(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    this.#daemon = undefined;
    const exited = once(daemon, "exit");
    daemon.kill(signal);
    await exited;
  }

  /** Open descriptors and resident kilobytes of the daemon. */
  daemonUse(): { descriptors: number; kilobytes: number } {
    const proc = `/proc/${this.#daemon?.pid ?? 0}`;
    const status = readFileSync(`${proc}/status`, "utf8");
    const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
    return { descriptors: readdirSync(`${proc}/fd`).length, kilobytes };
  }

  pauseDaemon(): void {
    this.#daemon?.kill("SIGSTOP");
  }

  resumeDaemon(): void {
    this.#daemon?.kill("SIGCONT");
  }

  /** Runs a program to its end, whatever that is. */
  async run(program: string, parameters: readonly string[], input?: Buffer): Promise<Outcome> {
    const child = this.spawn(program, parameters);
    // Not every program reads its input to the end.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input ?? Buffer.alloc(0));
    return finished(child);
  }

  spawn(program: string, parameters: readonly string[]): ChildProcess {
    return spawn(program, parameters, { env: this.environment, timeout: this.programTimeoutMs });
  }

  /** A scenario of module-test.c, with the sanitizers or without. */
  scenario(kind: "plain" | "asan", ...parameters: string[]): Promise<Outcome> {
    const [program, module] = scenarioFiles(kind);
    return this.run(program, [module, ...parameters]);
  }

  spawnScenario(...parameters: string[]): ChildProcess {
    const [program, module] = scenarioFiles("asan");
    return this.spawn(program, [module, ...parameters]);
  }

  /** pkcs11-tool, logged in to the token dns. */
  pkcs11Tool(...parameters: string[]): Promise<Outcome> {
    const login = ["--token-label", "dns", "--login", "--pin", pin];
    return this.run("pkcs11-tool", ["--module", modulePath, ...login, ...parameters]);
  }

  p11tool(...parameters: string[]): Promise<Outcome> {
    const login = ["--provider", modulePath, "--login", "--set-pin", pin];
    return this.run("p11tool", ["--batch", ...login, ...parameters]);
  }

  async close(): Promise<void> {
    await this.stopDaemon();
    rmSync(this.directory, { recursive: true });
  }
}

function programFiles(name: string, kind: "plain" | "asan"): [program: string, module: string] {
  return kind === "asan"
    ? [join(build, "asan", name), asanModulePath]
    : [join(build, name), modulePath];
}

function scenarioFiles(kind: "plain" | "asan"): [program: string, module: string] {
  return programFiles("module-test", kind);
}

/** The conformance suite's program and the module it is for. */
export function conformancePaths(kind: "plain" | "asan"): [program: string, module: string] {
  return programFiles("conformance", kind);
}

/** Everything a child wrote, and its exit code; −1 after a signal. */
export async function finished(child: ChildProcess): Promise<Outcome> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  child.stdout?.setEncoding("utf8").on("data", (text: string) => stdout.push(text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr.push(text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code: code ?? -1, stdout: stdout.join(""), stderr: stderr.join("") };
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}
