/**
 * @module One process per data directory. Two that sign with one identity would fork its hash chain,
 * and everybody would call the node a liar. The lock is a file `lock.<generation>` that names its
 * holder; a holder that is dead is succeeded by the next generation. Creating a file that must not
 * exist is atomic, so of several successors one wins; nobody ever removes a file that might be held.
 */
import { randomBytes } from "node:crypto";
import { link, readdir, readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HsmError } from "../errors.js";
import { readIfPresent } from "../identity/secret-file.js";

const lockName = /^lock\.(\d{1,15})$/;

/**
 * Takes the lock for as long as this process lives; the kernel, not a release, ends it.
 * @throws HsmError `ERR_CONFLICT` when a living process holds it
 */
export async function lockDirectory(directory: string): Promise<void> {
  const holder = await describeProcess(process.pid);
  const draft = join(directory, `.lock-${randomBytes(6).toString("hex")}`);
  await writeFile(draft, `${holder}\n`, { flag: "wx", mode: 0o600 });
  try {
    for (;;) {
      const [newest = 0, ...older] = await generations(directory);
      if (newest > 0) await requireDead(directory, newest);
      const mine = newest + 1;
      if (!(await linkNew(draft, join(directory, `lock.${mine}`)))) continue;
      const [now, ...rest] = await generations(directory);
      if (now !== mine) {
        // Others came and went between the look and the link.
        await unlink(join(directory, `lock.${mine}`));
        continue;
      }
      for (const old of new Set([...older, ...rest])) {
        await unlink(join(directory, `lock.${old}`)).catch(() => undefined);
      }
      return;
    }
  } finally {
    await unlink(draft);
  }
}

/** Newest first. */
async function generations(directory: string): Promise<number[]> {
  return (await readdir(directory))
    .map((name) => Number(lockName.exec(name)?.[1] ?? 0))
    .filter((generation) => generation > 0)
    .toSorted((a, b) => b - a);
}

async function requireDead(directory: string, generation: number): Promise<void> {
  const text = await readIfPresent(join(directory, `lock.${generation}`));
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
