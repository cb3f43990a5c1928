/** @module knotd with the PKCS#11 module, on one zone, below a cluster's directory. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { findProgram } from "../../src/cli/programs.js";
import type { KeyInfo } from "../../src/client/index.js";
import { run, succeed, type Outcome } from "../support/run.js";
import type { TestCluster } from "./cluster.js";

export const zone = "threshold.example";
const endMs = 20_000;

export interface KnotOptions {
  readonly kskSize: number;
  readonly zskSize: number;
  /** Delegations in the zone; every second one is signed. */
  readonly delegations: number;
  /** Signs all with this key, which is on the token already, instead of generating its own. */
  readonly key?: KeyInfo;
}

/** The zone is what examples/zone.sh prints. */
export class Knot {
  readonly #cluster: TestCluster;
  readonly #options: KnotOptions;
  readonly #dir: string;
  readonly #log: string;
  #child: ChildProcess | undefined;
  #marked = 0;

  private constructor(cluster: TestCluster, options: KnotOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#dir = cluster.path("k");
    this.#log = `${this.#dir}/knotd.log`;
  }

  /** Writes zone and configuration. Each test has a Knot of its own, with keys of its own. */
  static async create(cluster: TestCluster, options: KnotOptions): Promise<Knot> {
    const knot = new Knot(cluster, options);
    rmSync(knot.#dir, { recursive: true, force: true });
    for (const name of ["run", "db", "out"]) mkdirSync(`${knot.#dir}/${name}`, { recursive: true });
    writeFileSync(knot.#log, "");
    const script = new URL("../../../examples/zone.sh", import.meta.url).pathname;
    const text = await succeed("sh", [script, zone, String(options.delegations)]);
    writeFileSync(`${knot.#dir}/${zone}.zone`, text.stdout);
    writeFileSync(`${knot.#dir}/knot.conf`, knot.#conf());
    if (options.key !== undefined) await knot.#adoptKey(options.key);
    return knot;
  }

  async #adoptKey({ id, modulusBits }: KeyInfo): Promise<void> {
    const key = [Buffer.from(id).toString("hex"), "algorithm=rsasha256", `size=${modulusBits}`];
    const roles = ["ksk=yes", "zsk=yes", "active=+0"];
    const all = ["-c", `${this.#dir}/knot.conf`, zone, "import-pkcs11", ...key, ...roles];
    await succeed(program("keymgr"), all, { env: this.#cluster.env });
  }

  start(): void {
    const out = openSync(`${this.#dir}/knotd.out`, "a");
    const child = spawn(program("knotd"), ["-c", `${this.#dir}/knot.conf`], {
      stdio: ["ignore", out, out],
      env: this.#cluster.env,
    });
    this.#child = this.#cluster.adopt(child);
    closeSync(out);
  }

  get isRunning(): boolean {
    const { exitCode, signalCode } = this.#child ?? { exitCode: 1, signalCode: null };
    return exitCode === null && signalCode === null;
  }

  ctl(...parameters: string[]): Promise<Outcome> {
    const all = ["-c", `${this.#dir}/knot.conf`, "-t", "60", ...parameters];
    return run(program("knotc"), all, { env: this.#cluster.env });
  }

  /** What knotd logged since the last mark. */
  get logged(): string {
    return readFileSync(this.#log, "utf8").slice(this.#marked);
  }

  mark(): void {
    this.#marked = readFileSync(this.#log, "utf8").length;
  }

  /** Waits for a line after the mark. */
  async waitFor(pattern: RegExp, timeoutMs = 120_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!pattern.test(this.logged)) {
      if (!this.isRunning) throw new Error(`knotd has ended: ${this.logged}`);
      if (Date.now() > deadline) throw new Error(`knotd did not log ${pattern}: ${this.logged}`);
      await sleep(50);
    }
  }

  /** Signs all of the zone again, and resolves when knotd has begun. */
  async beginSigning(): Promise<void> {
    this.mark();
    const { code, text } = await this.ctl("zone-sign", zone);
    if (code !== 0) throw new Error(text);
  }

  /** Waits for the end of a signing in which nothing failed, and lets two validators look at it. */
  async finishSigning(timeoutMs?: number): Promise<number> {
    await this.waitFor(/DNSSEC, successfully signed/, timeoutMs);
    if (/ (error|warning): \[/.test(this.logged)) throw new Error(this.logged);
    return await this.validate();
  }

  /** The number of signatures of the served zone, all of them valid. */
  async validate(): Promise<number> {
    const out = `${this.#dir}/out`;
    const flushed = await this.ctl("-b", "zone-flush", zone, "+outdir", out);
    if (flushed.code !== 0) throw new Error(flushed.text);
    const file = `${out}/${zone}.zone`;
    await succeed(program("kzonecheck"), ["-o", zone, "-d", "on", file]);
    // "-z": one key of both kinds.
    const kinds = this.#options.key === undefined ? [] : ["-z"];
    await succeed(program("dnssec-verify"), [...kinds, "-o", zone, file]);
    return readFileSync(file, "utf8").match(/\sRRSIG\s/g)?.length ?? 0;
  }

  /** As the service manager stops it. SIGKILL after 20 s. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), endMs);
    await ended;
    clearTimeout(timer);
  }

  #conf(): string {
    const { kskSize, zskSize } = this.#options;
    const pinFile = `${this.#cluster.dir}/client/pin`;
    return `server:
    rundir: "${this.#dir}/run"
log:
  - target: "${this.#log}"
    any: info
database:
    storage: "${this.#dir}/db"
keystore:
  - id: hsm
    backend: pkcs11
    config: "pkcs11:token=dns;pin-source=${pinFile} ${this.#cluster.module}"
policy:
  - id: threshold
    keystore: hsm
    algorithm: rsasha256
    ksk-size: ${kskSize}
    zsk-size: ${zskSize}
    rrsig-pre-refresh: 5
${this.#options.key === undefined ? "" : "    manual: on\n    single-type-signing: on\n"}zone:
  - domain: ${zone}
    file: "${this.#dir}/${zone}.zone"
    dnssec-signing: on
    dnssec-policy: threshold
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
`;
  }
}

function program(name: string): string {
  const found = findProgram(name);
  if (found === undefined) throw new Error(`${name} is missing: bin/setup installs it`);
  return found;
}
