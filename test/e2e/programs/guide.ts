/**
 * @module The guides of docs/guides, followed to the letter: their files written to the places that
 * they name, their commands run. What a reader is told to do is what is tested.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Outcome } from "../../support/run.js";
import type { TestCluster } from "../cluster.js";
import type { Machine } from "./machine.js";

const guides = fileURLToPath(new URL("../../../../docs/guides", import.meta.url));
/** The first line of a block that is a file: a comment with its path and nothing else. */
const fileLine = /^(?:#|\/\/|<!--) ([\w./-]+)(?: -->)?\n/;

export interface Running {
  /** What it has said so far. */
  readonly said: string;
  stop(): Promise<void>;
}

export class Guide {
  readonly #text: string;
  readonly #cluster: TestCluster;
  readonly #machine: Machine;
  readonly #dir: string;

  /**
   * `changes` puts what only this machine knows (PIN, free ports) in the place of the guide's
   * examples.
   */
  constructor(
    name: string,
    cluster: TestCluster,
    machine: Machine,
    changes: Readonly<Record<string, string>> = {},
  ) {
    this.#cluster = cluster;
    this.#machine = machine;
    this.#dir = cluster.path("work", name);
    mkdirSync(this.#dir, { recursive: true });
    let text = readFileSync(join(guides, `${name}.md`), "utf8");
    for (const [example, own] of Object.entries({ "12345678": cluster.pin, ...changes })) {
      text = text.replaceAll(example, own);
    }
    this.#text = text;
  }

  /** Where commands run, and relative files are. */
  path(...names: string[]): string {
    return join(this.#dir, ...names);
  }

  /** Writes a section's files and runs its commands, which have to succeed. */
  async follow(title: string): Promise<string> {
    const { code, text } = await this.attempt(title);
    if (code !== 0) throw new Error(`"${title}" ended with ${code}: ${text}`);
    return text;
  }

  /** The same, whatever its end is. */
  async attempt(title: string): Promise<Outcome> {
    const script = await this.#prepare(title);
    return await this.#machine.run("sh", ["-euc", `cd ${this.#dir}\n${script}`]);
  }

  /** The same for a section with one command, a server that runs on. */
  async start(title: string): Promise<Running> {
    const script = (await this.#prepare(title)).trim();
    const child = this.#machine.start("sh", ["-euc", `cd ${this.#dir}\nexec ${script}`]);
    this.#cluster.adopt(child);
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    }
    return {
      get said() {
        return said;
      },
      stop: () => end(child),
    };
  }

  async #prepare(title: string): Promise<string> {
    const section = this.#text.split(/^## /m).find((one) => one.startsWith(`${title}\n`));
    if (section === undefined) throw new Error(`the guide has no section "${title}"`);
    const commands: string[] = [];
    for (const [, block = ""] of section.matchAll(/^```\w+\n(.*?)^```$/gms)) {
      const path = fileLine.exec(block)?.[1];
      if (path === undefined) commands.push(block);
      else await this.#write(resolve(this.#dir, path), block);
    }
    return commands.join("");
  }

  async #write(path: string, text: string): Promise<void> {
    await this.#machine.succeed("mkdir", ["-p", dirname(path)]);
    await this.#machine.succeed("tee", [path], { input: text });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  // nsenter has become the shell, and the shell the server.
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  await ended;
  clearTimeout(timer);
}
