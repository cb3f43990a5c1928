/**
 * @module One process at a time: per data directory of a node (two that sign with one identity would
 * fork its hash chain, and everybody would call the node a liar), and per attempt at a PIN. The lock
 * is a file `lock.<generation>` that names its holder; one that is released or whose holder is dead is
 * succeeded by the next generation. Creating a file that must not exist is atomic, so of several
 * successors one wins; nobody ever removes a file that might be held.
 */
import { randomBytes } from "node:crypto";
import { chmod, link, readdir, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HsmError } from "../errors.js";
import { readIfPresent } from "./secret-file.js";

export type Release = () => Promise<void>;

/**
 * Takes the lock that is called `name`, until it is released or this process is dead.
 * @throws HsmError `ERR_CONFLICT` when a living process holds it, this one too
 */
export async function lockDirectory(directory: string, name: string = "lock"): Promise<Release> {
  const holder = await describeProcess(process.pid);
  const draft = join(directory, `.lock-${randomBytes(6).toString("hex")}`);
  await writePublic(draft, `${holder}\n`);
  try {
    for (;;) {
      const [newest = 0, ...older] = await generations(directory, name);
      if (newest > 0) await requireFree(directory, `${name}.${newest}`);
      const mine = newest + 1;
      const path = join(directory, `${name}.${mine}`);
      if (!(await linkNew(draft, path))) continue;
      const [now, ...rest] = await generations(directory, name);
      if (now !== mine) {
        // Others came and went between the look and the link.
        await unlink(path);
        continue;
      }
      for (const old of new Set([...older, ...rest])) {
        await unlink(join(directory, `${name}.${old}`)).catch(() => undefined);
      }
      return () => release(path);
    }
  } finally {
    await unlink(draft);
  }
}

/** The file stays, and with it the number: a successor that looked before this must not go back. */
async function release(path: string): Promise<void> {
  const draft = `${path}-${randomBytes(6).toString("hex")}`;
  await writePublic(draft, "");
  await rename(draft, path);
}

/** Nothing in it is secret, and another user's process must see who holds it. */
async function writePublic(path: string, text: string): Promise<void> {
  await writeFile(path, text, { flag: "wx" });
  await chmod(path, 0o644);
}

/** Newest first. */
async function generations(directory: string, name: string): Promise<number[]> {
  return (await readdir(directory))
    .filter((file) => file.startsWith(`${name}.`))
    .map((file) => Number(/^\d{1,15}$/.exec(file.slice(name.length + 1))?.[0] ?? 0))
    .filter((generation) => generation > 0)
    .toSorted((a, b) => b - a);
}

async function requireFree(directory: string, file: string): Promise<void> {
  const text = await readIfPresent(join(directory, file));
  const holder = text?.toString("utf8").trim() ?? "";
  const [pid = ""] = holder.split(" ");
  if (holder === "" || holder !== (await describeProcess(Number(pid)))) return;
  throw new HsmError(
    "ERR_CONFLICT",
    `${directory} is in use by process ${pid}: one identity runs once`,
  );
}

/**
 * Process id, start time and boot: a number that is in use again names another process. Empty when
 * there is no such process, or it is dead. Without /proc the number alone must do.
 */
async function describeProcess(pid: number): Promise<string> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM means that it lives and is somebody else's.
    if (!hasCode(error, "EPERM")) return "";
  }
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The fields behind the command's closing parenthesis; the start time is number 22 of all.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Dead, but its parent has not looked yet (a zombie): it holds nothing any more.
    if (fields[0] === "Z" || fields[0] === "X") return "";
    const started = fields[19] ?? "";
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${pid} ${started} ${boot.trim()}`;
  } catch {
    return String(pid);
  }
}

/** Links `draft` to `path`; false when that exists. The file is complete from its first instant. */
async function linkNew(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
