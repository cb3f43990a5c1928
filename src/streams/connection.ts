/**
 * @module The connection to NATS: login by NKey, TLS, an inbox prefix of its own, and reconnects
 * for as long as the process lives.
 */
import { setTimeout as delay } from "node:timers/promises";
import { fromSeed } from "@nats-io/nkeys";
import {
  AuthorizationError,
  connect,
  nkeyAuthenticator,
  PermissionViolationError,
  TimeoutError,
  type ConnectionOptions,
  type NatsConnection,
} from "nats";
import { describeError, HsmError } from "../errors.js";
import { readSecretFile } from "../identity/secret-file.js";
import type { Logger } from "../log.js";

export interface BusOptions {
  readonly servers: readonly string[];
  /** Who logs in: shown in NATS' monitoring, and the private inbox `_INBOX_<name>`. */
  readonly name: string;
  /** File with the NKey seed (mode 0600). It logs in and does nothing else. */
  readonly loginFile: string;
  readonly tls?:
    { readonly caFile: string; readonly certFile: string; readonly keyFile: string } | undefined;
  readonly log: Logger;
  /** Fail unless connected within this time, and at once without a server. Absent: return once connected, however long. */
  readonly timeoutMs?: number;
  /** Ends the wait for a server that does not come. */
  readonly signal?: AbortSignal;
}

/** Servers older than this have known holes; see docs/operations.md. */
const recommendedVersion = [2, 10, 27] as const;
const firstTryMs = 5000;
const retryMs = 250;

// The library tells neither of them of a connection.
const inboxPrefixes = new WeakMap<NatsConnection, string>();
const disconnected = new WeakSet<NatsConnection>();

/** @throws HsmError `ERR_BROKER_UNREACHABLE`, `ERR_ABORTED`, or what reading the files throws. */
export async function connectBus(options: BusOptions): Promise<NatsConnection> {
  const { name, log } = options;
  // The library reads it itself, and does not ask who else can.
  if (options.tls !== undefined) (await readSecretFile(options.tls.keyFile)).fill(0);
  const settings: ConnectionOptions = {
    servers: [...options.servers],
    name: `thsm ${name}`,
    inboxPrefix: `_INBOX_${name}`,
    authenticator: nkeyAuthenticator(await readLogin(options.loginFile)),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    ignoreAuthErrorAbort: true,
    // One request in nats.js costs three stack traces otherwise.
    noAsyncTraces: true,
    timeout: Math.min(options.timeoutMs ?? firstTryMs, firstTryMs),
    // A dead link shows after two missed pings.
    pingInterval: 10_000,
  };
  const connection = await firstConnection(settings, options);
  inboxPrefixes.set(connection, `_INBOX_${name}`);
  watch(connection, log);
  const version = connection.info?.version ?? "0.0.0";
  log.info({ server: connection.getServer(), version }, "connected to NATS");
  if (isOlder(version)) {
    log.warn({ version, recommended: recommendedVersion.join(".") }, "old nats-server");
  }
  return connection;
}

/** Whether the server is there right now, as far as the socket tells. */
export function isConnected(connection: NatsConnection): boolean {
  return !connection.isClosed() && !disconnected.has(connection);
}

/** What the inboxes of a connection begin with; undefined for the library's default. */
export function inboxPrefixOf(connection: NatsConnection): string | undefined {
  return inboxPrefixes.get(connection);
}

/** Calls back, for as long as the connection lives, with each subject it may not publish to. */
export function onPublishDenied(
  connection: NatsConnection,
  denied: (subject: string) => void,
): void {
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      if (status.error.operation === "publish") denied(status.error.subject);
    }
  })();
}

/** The library's own wait for a first connection cannot be ended, and says nothing meanwhile. */
async function firstConnection(
  settings: ConnectionOptions,
  { servers, timeoutMs, signal, log }: BusOptions,
): Promise<NatsConnection> {
  const isStopped = (): boolean => signal?.aborted ?? false;
  const deadlineMs = Date.now() + (timeoutMs ?? Infinity);
  let lastReason = "";
  for (;;) {
    if (isStopped()) throw new HsmError("ERR_ABORTED", "stopped while connecting");
    try {
      const connection = await connect(settings);
      if (!isStopped()) return connection;
      await connection.close();
    } catch (cause) {
      const reason = describeError(cause);
      const isToTryAgain = timeoutMs === undefined || isSlowness(cause);
      if (!isToTryAgain || Date.now() >= deadlineMs) {
        throw new HsmError(
          "ERR_BROKER_UNREACHABLE",
          `cannot connect to NATS at ${servers.join(", ")} (${reason}); is nats-server running?`,
          { cause },
        );
      }
      if (reason !== lastReason) log.warn({ servers, error: reason }, "cannot connect to NATS");
      lastReason = reason;
      await delay(retryMs, undefined, signal === undefined ? {} : { signal }).catch(
        () => undefined,
      );
    }
  }
}

/** The server was there, and server or we too busy for the other: two seconds are all that it gives a login. */
function isSlowness(cause: unknown): boolean {
  if (cause instanceof TimeoutError) return true;
  return cause instanceof AuthorizationError && cause.message === "Authentication Timeout";
}

/** @throws HsmError `ERR_INVALID_CONFIG` for a file that holds no NKey seed */
async function readLogin(path: string): Promise<Uint8Array> {
  const bytes = await readSecretFile(path);
  const seed = Uint8Array.from(Buffer.from(bytes.toString("utf8").trim(), "utf8"));
  bytes.fill(0);
  try {
    // Clearing the pair erases its seed.
    fromSeed(seed.slice()).clear();
  } catch {
    throw new HsmError("ERR_INVALID_CONFIG", `${path} does not hold the seed of an NKey`);
  }
  return seed;
}

function watch(connection: NatsConnection, log: Logger): void {
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") {
        disconnected.add(connection);
        log.warn({ server: status.server }, "NATS lost");
      }
      if (status.type === "reconnect") {
        disconnected.delete(connection);
        log.info({ server: status.server }, "NATS is back");
      }
      if (status.type === "error") log.warn({ error: status.error.message }, "NATS error");
    }
  })();
}

function isOlder(version: string): boolean {
  const parts = version.split(".").map(Number);
  const at = recommendedVersion.findIndex((part, index) => part !== parts[index]);
  return at >= 0 && (parts[at] ?? 0) < (recommendedVersion[at] ?? 0);
}
