/**
 * @module Who may talk to the daemon, by what the kernel says of the process that connected
 * (SO_PEERCRED), not by who could reach the socket: its modes may be wrong, and root makes mistakes.
 */
import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { describeError, HsmError } from "../errors.js";

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Whom the kernel does not name: all of them are one user. */
const unknownUid = -1;

/** Who connects, and why not if they may not. */
export type PeerCheck = (socket: Socket) => { readonly uid: number; readonly refusal?: string };

const addonFile = fileURLToPath(new URL("./peer.node", import.meta.url));

/**
 * The check for a socket that is there. `allowed`: "modes" trusts the socket's permissions alone;
 * else user names and numbers beside the daemon's own user and root; and the socket's group, when its
 * mode (`socketMode`, else the one it has) lets the group connect.
 * @throws HsmError `ERR_INVALID_CONFIG` for a user that is none, or when the kernel cannot be asked
 */
export async function peerCheck(
  allowed: "modes" | readonly string[],
  socketPath: string,
  socketMode?: number,
): Promise<PeerCheck> {
  if (allowed === "modes") {
    const ask = tryAddon();
    return (socket) => ({ uid: ask?.(descriptorOf(socket))?.uid ?? unknownUid });
  }
  const peerOf = loadAddon();
  const { gid, mode } = await stat(socketPath);
  const group = ((socketMode ?? mode) & 0o020) === 0 ? undefined : gid;
  const users = new Set([0, process.geteuid?.() ?? 0, ...allowed.map(uidOf)]);
  return (socket) => {
    const peer = peerOf(descriptorOf(socket));
    if (peer === undefined) {
      return { uid: unknownUid, refusal: "the kernel does not say who it is" };
    }
    const { uid, pid } = peer;
    if (users.has(uid) || (group !== undefined && isInGroup(peer, group))) return { uid };
    return { uid, refusal: `uid ${uid} (process ${pid}) is not among the peers of pkcs11d.toml` };
  };
}

/**
 * What `peerCheck` needs that a socket which is not there yet cannot tell.
 * @throws HsmError `ERR_INVALID_CONFIG`
 */
export function requirePeers(allowed: "modes" | readonly string[]): void {
  if (allowed === "modes") return;
  loadAddon();
  allowed.forEach(uidOf);
}

function isInGroup({ pid, gid }: Peer, group: number): boolean {
  if (gid === group) return true;
  try {
    const [, groups = ""] =
      /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return groups.split(/\s+/).includes(String(group));
  } catch {
    return false;
  }
}

function uidOf(user: string): number {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${user}:`));
  if (line === undefined) {
    throw new HsmError("ERR_INVALID_CONFIG", `peers: there is no user ${JSON.stringify(user)}`);
  }
  return Number(line.split(":")[2]);
}

function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null && Reflect.get(handle, "fd");
  return typeof fd === "number" ? fd : -1;
}

/** What "modes" can do without. */
function tryAddon(): ((fd: number) => Peer | undefined) | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}

function loadAddon(): (fd: number) => Peer | undefined {
  const loaded = { exports: {} as { peer?: (fd: number) => [number, number, number] | undefined } };
  try {
    process.dlopen(loaded, addonFile);
  } catch (cause) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `cannot ask who connects: ${describeError(cause)}; build it (npm run build), or let the socket's modes decide: peers = "modes" in pkcs11d.toml`,
      { cause },
    );
  }
  return (fd) => {
    const [pid, uid, gid] = loaded.exports.peer?.(fd) ?? [];
    return pid === undefined || uid === undefined || gid === undefined
      ? undefined
      : { pid, uid, gid };
  };
}
