/**
 * @module A machine of a test's own to install things on: this one, with what is written to /etc, /usr
 * and /var kept apart (a mount namespace with overlays). Programs that are started in it see it, and
 * nobody else does.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { run, succeed, type Outcome, type RunOptions } from "../../support/run.js";

const isRoot = process.getuid?.() === 0;
const overlaid = ["etc", "usr", "var"];
/** $1 keeps the layers; the shell that mounts them holds the namespace open. */
const script = `set -e
for dir in ${overlaid.join(" ")}; do
  mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$1/$dir,workdir=$1/.$dir" "/$dir"
done
mount -t tmpfs tmpfs /run
echo ready
exec cat`;

export class Machine {
  readonly #holder: ChildProcess;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(holder: ChildProcess, env: NodeJS.ProcessEnv) {
    this.#holder = holder;
    this.#env = env;
  }

  /** `dir` keeps what is written. It ends with its process, which the caller adopts. */
  static async start(
    dir: string,
    env: NodeJS.ProcessEnv,
    adopt: (holder: ChildProcess) => ChildProcess,
  ): Promise<Machine> {
    for (const name of overlaid) {
      for (const layer of [name, `.${name}`]) mkdirSync(join(dir, layer), { recursive: true });
    }
    // As root of this machine, or of a user namespace where that is allowed.
    const unshare = [isRoot ? "--mount" : "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    const holder = adopt(spawn("unshare", [...unshare, dir], { env, stdio: "pipe" }));
    const said: Buffer[] = [];
    holder.stderr?.on("data", (chunk: Buffer) => said.push(chunk));
    const first = await Promise.race([
      once(holder.stdout as NodeJS.ReadableStream, "data"),
      once(holder, "close").then(() => undefined),
    ]);
    if (first === undefined) {
      throw new Error(`no mount namespace to test in: ${Buffer.concat(said).toString("utf8")}`);
    }
    return new Machine(holder, env);
  }

  run(program: string, parameters: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run("nsenter", [...this.#enter, program, ...parameters], { env: this.#env, ...options });
  }

  succeed(
    program: string,
    parameters: readonly string[],
    options: RunOptions = {},
  ): Promise<Outcome> {
    const all = [...this.#enter, program, ...parameters];
    return succeed("nsenter", all, { env: this.#env, ...options });
  }

  /** A program that runs on. */
  start(program: string, parameters: readonly string[]): ChildProcess {
    return spawn("nsenter", [...this.#enter, program, ...parameters], {
      env: this.#env,
      stdio: "pipe",
    });
  }

  get #enter(): string[] {
    const user = isRoot ? [] : ["--user", "--preserve-credentials"];
    return [`--target=${this.#holder.pid}`, ...user, "--mount", "--"];
  }
}
