/** @module The broker as a node meets it: late, gone for a while, back with less than it had. */
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { connectBus } from "../streams/connection.js";
import type { NodeConfig } from "./config.js";

const startRetryMs = 1000;

export interface BrokerOptions {
  readonly config: NodeConfig;
  readonly cluster: Cluster;
  readonly log: Logger;
  /** Ends every waiting. */
  readonly signal: AbortSignal;
}

/**
 * Connects, however long that takes.
 * @throws HsmError `ERR_ABORTED`, `ERR_INVALID_CONFIG`, and what reading the login throws
 */
export async function connectUnlessStopped({
  config,
  cluster,
  log,
  signal,
}: BrokerOptions): Promise<NatsConnection> {
  const connecting = connectBus({
    servers: cluster.servers,
    name: config.name,
    loginFile: config.loginFile,
    tls: cluster.tlsOf({ tlsCert: config.tls?.certFile, tlsKey: config.tls?.keyFile }),
    log,
  });
  const aborted = new Promise<never>((_, reject) => {
    const abort = (): void => reject(new HsmError("ERR_ABORTED", "stopped while connecting"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
  });
  return await Promise.race([connecting, aborted]);
}

/** Repeats a step of the start for as long as the broker does not answer. */
export async function persist(
  { log, signal }: Pick<BrokerOptions, "log" | "signal">,
  step: () => Promise<void>,
): Promise<void> {
  for (let isFirst = true; ; isFirst = false) {
    try {
      await step();
      return;
    } catch (error) {
      if (!(error instanceof HsmError) || error.code !== "ERR_BROKER_UNREACHABLE") throw error;
      if (signal.aborted) throw new HsmError("ERR_ABORTED", "stopped while starting");
      if (isFirst) log.warn({ error: describeError(error) }, "waiting for the streams");
      await delay(startRetryMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Calls `afterReconnect` for as long as there is a connection; tells what cannot be lived with. */
export async function watchConnection(
  connection: NatsConnection,
  afterReconnect: () => Promise<void>,
  log: Logger,
  onFailure: (error: HsmError) => void,
): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type !== "reconnect") continue;
    try {
      await afterReconnect();
    } catch (error) {
      if (error instanceof HsmError && error.code === "ERR_JOURNAL") onFailure(error);
      else log.warn({ error: describeError(error) }, "cannot compare the streams with the journal");
    }
  }
  onFailure(new HsmError("ERR_BROKER_UNREACHABLE", "the connection to NATS was closed"));
}
