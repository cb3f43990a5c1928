/** @module The daemon's Unix socket, and the connections on it. */
import { setMaxListeners } from "node:events";
import { chmod, lstat, readFile, readlink, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { requireSafeDirectory, type HsmClient } from "../client/index.js";
import { HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import { Applications, type ApplicationLimits } from "./application.js";
import { Connection } from "./connection.js";
import { Handler } from "./handlers.js";
import { KeyDirectory } from "./key-directory.js";
import { peerCheck, requirePeers, type PeerCheck } from "./peers.js";

export interface ServerOptions extends ApplicationLimits {
  readonly socketPath: string;
  /** Permission bits of the socket. */
  readonly socketMode: number;
  /** See `peerCheck`. */
  readonly peers: "modes" | readonly string[];
  /** Whether keys that applications generate may sign SHA-1 digests. */
  readonly allowSha1?: boolean;
  /** The socket as systemd made it: a file descriptor that listens. */
  readonly inherited?: number;
  /** How long close() waits for calls under way. */
  readonly drainMs: number;
  readonly log: Logger;
  /** The client, once there is one. */
  readonly client: () => HsmClient | undefined;
}

/**
 * Serves PKCS#11 modules: those whom the permissions of the socket and of its directory let in, and
 * the peer check too.
 */
export class Pkcs11Server {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #applications: Applications;
  readonly #connections = new Set<Connection>();
  readonly #stop = new AbortController();
  readonly #services: ConstructorParameters<typeof Connection>[1];
  #malformed = 0;
  /** It asks for the socket's group, so there is none before the socket. */
  #checkPeer: PeerCheck | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    // Every call under way listens to it.
    setMaxListeners(0, this.#stop.signal);
    this.#applications = new Applications(options, options.log);
    this.#services = {
      applications: this.#applications,
      handler: new Handler(this.#applications, new KeyDirectory(), options.allowSha1 === true),
      client: options.client,
      stop: this.#stop.signal,
      log: options.log,
      countMalformed: () => ++this.#malformed,
    };
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /**
   * Listens on the inherited socket, else on its own, in place of a dead predecessor if there was one.
   * @throws HsmError `ERR_UNTRUSTED_FILE`, `ERR_INVALID_CONFIG` when the place is taken.
   */
  async listen(): Promise<void> {
    const { inherited, socketPath, socketMode, peers, log } = this.#options;
    // Before anything listens: a server that listens keeps its process alive.
    requirePeers(peers);
    if (inherited !== undefined) {
      await this.#adopt(inherited);
      log.info({ socket: socketPath, inherited }, "listening");
      return;
    }
    // Others must not be able to put their own socket in the place of ours.
    await requireSafeDirectory(dirname(socketPath));
    await removeStale(socketPath);
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      // bind() happens within this call: nobody can connect before chmod says who may.
      const umask = process.umask(0o777);
      this.#server.listen(socketPath, resolve);
      process.umask(umask);
    }).catch((cause: unknown) => {
      throw new HsmError("ERR_INVALID_CONFIG", `cannot listen on ${socketPath}`, { cause });
    });
    this.#checkPeer = await peerCheck(peers, socketPath, socketMode);
    await chmod(socketPath, socketMode);
    log.info({ socket: socketPath }, "listening");
  }

  /** Takes no more calls, waits for those under way, and cuts off what takes too long. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.close();
    const timer = setTimeout(() => {
      this.#stop.abort();
      for (const connection of this.#connections) connection.destroy();
    }, this.#options.drainMs);
    await closed;
    clearTimeout(timer);
    await this.#applications.close();
  }

  /**
   * Path and mode are the service manager's. Modules must be told the same path, or every program
   * waits in vain.
   */
  async #adopt(fd: number): Promise<void> {
    const { socketPath } = this.#options;
    const bound = await pathOfListener(fd);
    if (bound !== socketPath) {
      throw new HsmError(
        "ERR_INVALID_CONFIG",
        `the service manager listens on ${bound ?? "no Unix socket"}, the configuration says ` +
          `${socketPath}: make ListenStream= of the socket unit and "socket" the same`,
      );
    }
    // It asks for the socket's group: only now is this the socket.
    this.#checkPeer = await peerCheck(this.#options.peers, socketPath);
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ fd }, resolve);
    });
  }

  #accept(socket: Socket): void {
    const peer = this.#checkPeer?.(socket);
    const user = peer && this.#applications.users.admit(peer.uid);
    if (user === undefined) {
      // Not a refusal, which would be final: a module comes again.
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, this.#services, user, peer?.refusal);
    this.#connections.add(connection);
    socket.on("close", () => this.#connections.delete(connection));
  }
}

/** Node tells no address of a server on a descriptor; proc(5) tells it by the socket's inode. */
async function pathOfListener(fd: number): Promise<string | undefined> {
  const link = await readlink(`/proc/self/fd/${fd}`).catch(() => "");
  const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
  const table = await readFile("/proc/net/unix", "utf8");
  const rows = table.split("\n").map((line) => line.trim().split(/\s+/));
  // Num, RefCount, Protocol, Flags (this one: it listens), Type, St, Inode, Path
  return rows.find((row) => row[6] === inode && row[3] === "00010000")?.[7];
}

async function removeStale(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  if (status === undefined) return;
  if (!status.isSocket()) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path} exists and is not a socket`);
  }
  if (await isAnswered(path)) {
    throw new HsmError("ERR_INVALID_CONFIG", `another daemon listens on ${path}`);
  }
  await unlink(path);
}

export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
