/**
 * @module The processes of a development cluster: started in the background with a log file each,
 * remembered by process id and start time, so that nothing else can be ended by mistake.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HsmError } from "../../errors.js";

const stopMs = 8000;

export interface ProcessPlan {
  /** `nats`, `n1`, … `pkcs11d`: names the log and the record. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

interface Started {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: tells a process from a later one with its number. */
  readonly startTime: string;
}

/** Knows the processes of one cluster directory. */
export class Processes {
  readonly #records: string;
  readonly #logs: string;

  constructor(dir: string) {
    this.#records = join(dir, "run");
    this.#logs = join(dir, "log");
  }

  logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** The process id, when it runs. */
  async find(name: string): Promise<number | undefined> {
    const record = await this.#read(name);
    if (record === undefined) return undefined;
    return (await startTimeOf(record.pid)) === record.startTime ? record.pid : undefined;
  }

  /** Starts it unless it runs. Whether it gets ready is the caller's to see. */
  async start(plan: ProcessPlan): Promise<number> {
    const running = await this.find(plan.name);
    if (running !== undefined) return running;
    await mkdir(this.#records, { recursive: true, mode: 0o700 });
    await mkdir(this.#logs, { recursive: true, mode: 0o700 });
    const log = openSync(this.logFile(plan.name), "a", 0o600);
    const child = spawn(plan.command, plan.args, {
      stdio: ["ignore", log, log],
      detached: true,
      env: plan.env ?? process.env,
    });
    closeSync(log);
    const failed = new Promise<Error>((resolve) => child.once("error", resolve));
    child.unref();
    const { pid } = child;
    const startTime = pid === undefined ? undefined : await startTimeOf(pid);
    if (pid === undefined || startTime === undefined) {
      const why = pid === undefined ? (await failed).message : `see ${this.logFile(plan.name)}`;
      throw new HsmError("ERR_INVALID_CONFIG", `cannot start ${plan.name}: ${why}`);
    }
    const record: Started = { pid, startTime };
    await writeFile(join(this.#records, `${plan.name}.json`), JSON.stringify(record));
    return pid;
  }

  /** SIGTERM, then SIGKILL for one that does not listen. False when it did not run. */
  async stop(name: string): Promise<boolean> {
    const pid = await this.find(name);
    if (pid !== undefined) {
      signal(pid, "SIGTERM");
      const deadline = Date.now() + stopMs;
      while ((await this.find(name)) !== undefined) {
        if (Date.now() > deadline) signal(pid, "SIGKILL");
        await sleep(20);
      }
    }
    await rm(join(this.#records, `${name}.json`), { force: true });
    return pid !== undefined;
  }

  /** SIGKILL, as a crash. False when it did not run. */
  async kill(name: string): Promise<boolean> {
    const pid = await this.find(name);
    if (pid === undefined) return false;
    signal(pid, "SIGKILL");
    while ((await this.find(name)) !== undefined) await sleep(10);
    return true;
  }

  /** Names of all that were started and not stopped, running or not. */
  async known(): Promise<string[]> {
    const files = await readdir(this.#records).catch(() => []);
    return files.flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []).toSorted();
  }

  /** The end of a process's log, for an error message. */
  async logEnd(name: string): Promise<string> {
    const text = await readFile(this.logFile(name), "utf8").catch(() => "");
    return text.trimEnd().split("\n").slice(-5).join("\n");
  }

  async #read(name: string): Promise<Started | undefined> {
    try {
      const record: unknown = JSON.parse(
        await readFile(join(this.#records, `${name}.json`), "utf8"),
      );
      return isStarted(record) ? record : undefined;
    } catch {
      return undefined;
    }
  }
}

/** It may have ended since somebody looked. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Undefined for a process that is gone, or only waits for its parent to look (a zombie). */
async function startTimeOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The program's name, in parentheses, may contain anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function isStarted(record: unknown): record is Started {
  return (
    typeof record === "object" &&
    record !== null &&
    "pid" in record &&
    typeof record.pid === "number" &&
    "startTime" in record &&
    typeof record.startTime === "string"
  );
}
