/** @module What a connected client shares among its sessions, dealings and audits. */
import type { NatsConnection } from "nats";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { connectBus } from "../streams/connection.js";
import { Publisher } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { Collector } from "./collector.js";
import type { ClientConfig } from "./config.js";
import type { IdentityLock } from "./identity-lock.js";
import { KeyDirectory } from "./key-directory.js";
import { NodeHealth } from "./node-health.js";

export interface Bus {
  readonly connection: NatsConnection;
  readonly publisher: Publisher;
  readonly reader: StreamReader;
  readonly keys: KeyDirectory;
  readonly collector: Collector;
  readonly health: NodeHealth;
  readonly identity: IdentityLock;
  readonly log: Logger;
  close(): Promise<void>;
}

/** Connects, however long that takes, unless the signal fires. */
export async function openBus(
  config: ClientConfig,
  cluster: Cluster,
  identity: IdentityLock,
  log: Logger,
  signal: AbortSignal,
): Promise<Bus> {
  const connection = await connectBus({
    servers: cluster.servers,
    name: config.name,
    loginFile: config.loginFile,
    tls: cluster.tlsOf(config),
    log,
    signal,
  });
  const reader = new StreamReader(connection);
  const publisher = new Publisher(connection, reader, config.name);
  const keys = new KeyDirectory(cluster, connection, reader, log);
  const collector = new Collector(cluster, config.name, connection, reader, log);
  const health = new NodeHealth(cluster, connection);
  return {
    connection,
    publisher,
    reader,
    keys,
    collector,
    health,
    identity,
    log,
    async close() {
      keys.close();
      collector.close();
      health.close();
      publisher.close();
      await connection.close();
    },
  };
}
