/**
 * @module Files with secrets: read only when nobody else can, written so that a crash at any
 * instant leaves the old file or the new one.
 */
import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { HsmError } from "../errors.js";

/**
 * The bytes of a file that only its owner may read.
 * @throws HsmError `ERR_INVALID_CONFIG` when it cannot be read or is no regular file, `ERR_UNTRUSTED_FILE` when its group
 * or others can read it, when it belongs to somebody other than this process or root, or when everybody
 * may write its directory.
 */
export async function readSecretFile(path: string): Promise<Buffer> {
  let file;
  try {
    // Not blocking, or a named pipe would be waited for.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `cannot read ${path}: ${reason(cause)}`, { cause });
  }
  try {
    // Of the open file: nothing can be swapped between check and use.
    requireOwnersOnly(path, await file.stat());
    await requireSafeDirectory(dirname(path));
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/**
 * Checks files with secrets that will be read later, so that a process says at its start what is wrong.
 * @throws HsmError `ERR_INVALID_CONFIG` for a file that is not there, `ERR_UNTRUSTED_FILE`
 */
export async function requireSecretFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const stats = await stat(path).catch((cause: unknown) => {
      throw new HsmError("ERR_INVALID_CONFIG", `cannot read ${path}: ${reason(cause)}`, { cause });
    });
    requireOwnersOnly(path, stats);
    await requireSafeDirectory(dirname(path));
  }
}

/**
 * Whoever may write a directory can put another file in the place of any in it.
 * @throws HsmError `ERR_INVALID_CONFIG` when there is none, `ERR_UNTRUSTED_FILE` when everybody may write it
 */
export async function requireSafeDirectory(directory: string): Promise<void> {
  const { mode } = await stat(directory).catch((cause: unknown) => {
    throw new HsmError("ERR_INVALID_CONFIG", `no directory ${directory}`, { cause });
  });
  const isSticky = (mode & 0o1000) !== 0;
  if ((mode & 0o002) === 0 || isSticky) return;
  throw new HsmError(
    "ERR_UNTRUSTED_FILE",
    `${directory} can be written by everybody; run: chmod o-w ${directory}`,
  );
}

function requireOwnersOnly(path: string, stats: Stats): void {
  const { mode, uid } = stats;
  if (!stats.isFile()) throw new HsmError("ERR_INVALID_CONFIG", `${path} is no regular file`);
  if ((mode & 0o077) !== 0) {
    const shown = (mode & 0o777).toString(8);
    throw new HsmError(
      "ERR_UNTRUSTED_FILE",
      `${path} has mode ${shown}: others may read this secret; run: chmod 600 ${path}`,
    );
  }
  const self = process.geteuid?.() ?? uid;
  if (uid !== self && uid !== 0) {
    throw new HsmError(
      "ERR_UNTRUSTED_FILE",
      `${path} belongs to uid ${uid}, not to ${self}: run this as that user, or: chown ${self} ${path}`,
    );
  }
}

/**
 * Writes `bytes` to `path` with mode 0600, atomically and durably. When root writes, the file is given
 * to the owner of the file `like`: the process whose secret it is must be able to read it.
 */
export async function writeSecretFile(
  path: string,
  bytes: Uint8Array | string,
  like?: string,
): Promise<void> {
  await writeFileDurably(path, bytes, 0o600, like);
}

/** Writes `bytes` to `path` under another name, syncs, renames, and syncs the directory. */
export async function writeFileDurably(
  path: string,
  bytes: Uint8Array | string,
  mode: number,
  like?: string,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(temporary, "wx", mode);
  try {
    try {
      if (like !== undefined && process.geteuid?.() === 0) {
        const { uid, gid } = await stat(like);
        await file.chown(uid, gid);
      }
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    // What did not become the file may be a secret all the same.
    await eraseFile(temporary);
    throw error;
  }
  await syncDirectory(dirname(path));
}

/**
 * Overwrites a file with zeros and removes it. On flash storage the overwritten blocks may survive
 * below the file system; see docs/threat-model.md.
 */
export async function eraseFile(path: string): Promise<void> {
  let file;
  try {
    file = await open(path, "r+");
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    const { size } = await file.stat();
    await file.write(Buffer.alloc(size), 0, size, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await unlink(path);
  await syncDirectory(dirname(path));
}

/** The bytes of a file, or undefined when there is none. */
export async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Makes names in a directory durable: a file that was created, renamed or removed. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
