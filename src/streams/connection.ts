/**
 * @module The connection to NATS: login by NKey, TLS, an inbox prefix of its own, and reconnects
 * for as long as the process lives.
 */
import { connect, nkeyAuthenticator, type NatsConnection } from "nats";
import { HsmError } from "../errors.js";
import { readSecretFile } from "../identity/secret-file.js";
import type { Logger } from "../log.js";

export interface BusOptions {
  readonly servers: readonly string[];
  /** Who logs in: shown in NATS' monitoring, and the private inbox `_INBOX_<name>`. */
  readonly name: string;
  /** File with the NKey seed (mode 0600). It logs in and does nothing else. */
  readonly loginFile: string;
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
  readonly log: Logger;
  /** Fail unless connected within this time. Absent: return once connected, however long. */
  readonly timeoutMs?: number;
}

/** Servers older than this have known holes; see docs/operations.md. */
const recommendedVersion = [2, 10, 27] as const;

/** @throws HsmError `ERR_BROKER_UNREACHABLE`, or what reading the files throws. */
export async function connectBus(options: BusOptions): Promise<NatsConnection> {
  const seed = await readSecretFile(options.loginFile);
  const text = seed.toString("utf8").trim();
  seed.fill(0);
  const { name, log } = options;
  let connection;
  try {
    connection = await connect({
      servers: [...options.servers],
      name: `thsm ${name}`,
      inboxPrefix: `_INBOX_${name}`,
      authenticator: nkeyAuthenticator(new TextEncoder().encode(text)),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      ignoreAuthErrorAbort: true,
      // One request in nats.js costs three stack traces otherwise.
      noAsyncTraces: true,
      waitOnFirstConnect: options.timeoutMs === undefined,
      timeout: options.timeoutMs ?? 5000,
      // A dead link shows after two missed pings.
      pingInterval: 10_000,
    });
  } catch (cause) {
    throw new HsmError(
      "ERR_BROKER_UNREACHABLE",
      `cannot connect to NATS at ${options.servers.join(", ")}; is nats-server running?`,
      { cause },
    );
  }
  watch(connection, log);
  const version = connection.info?.version ?? "0.0.0";
  log.info({ server: connection.getServer(), version }, "connected to NATS");
  if (isOlder(version)) {
    log.warn({ version, recommended: recommendedVersion.join(".") }, "old nats-server");
  }
  return connection;
}

function watch(connection: NatsConnection, log: Logger): void {
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") log.warn({ server: status.server }, "NATS lost");
      if (status.type === "reconnect") log.info({ server: status.server }, "NATS is back");
      if (status.type === "error") log.warn({ error: status.error.message }, "NATS error");
    }
  })();
}

function isOlder(version: string): boolean {
  const parts = version.split(".").map(Number);
  const at = recommendedVersion.findIndex((part, index) => part !== parts[index]);
  return at >= 0 && (parts[at] ?? 0) < (recommendedVersion[at] ?? 0);
}
