/** @module What a connected client shares among its sessions, dealings and audits. */
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "nats";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { connectBus, isConnected } from "../streams/connection.js";
import { Publisher } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { BlameBook } from "./blame/blame-book.js";
import { ChainWatch } from "./blame/chain-watch.js";
import { StoredCheck } from "./blame/stored-check.js";
import { Collector } from "./collector.js";
import type { ClientConfig } from "./config.js";
import type { IdentityLock } from "./identity-lock.js";
import { KeyDirectory } from "./key-directory.js";
import { NodeHealth } from "./node-health.js";

export interface Bus {
  readonly cluster: Cluster;
  readonly connection: NatsConnection;
  readonly publisher: Publisher;
  readonly reader: StreamReader;
  readonly keys: KeyDirectory;
  readonly collector: Collector;
  readonly health: NodeHealth;
  readonly book: BlameBook;
  readonly storedCheck: StoredCheck;
  readonly identity: IdentityLock;
  readonly log: Logger;
  close(): Promise<void>;
}

/** How long a closing client looks whether the last shares are on record. */
const settleMs = 2000;

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
  const book = new BlameBook({
    cluster,
    client: config.name,
    connection,
    reader,
    publisher,
    identity,
    log,
    onChange: (node, isAvoided) => health.avoid(node, isAvoided),
  });
  const storedCheck = new StoredCheck(reader, book, log);
  const chains = new ChainWatch((charge) => book.charge(charge));
  collector.onAnswer = (answer) => chains.see(answer);
  return {
    cluster,
    connection,
    publisher,
    reader,
    keys,
    collector,
    health,
    book,
    storedCheck,
    identity,
    log,
    async close() {
      await storedCheck.settle(isConnected(connection) ? settleMs : 0);
      await Promise.race([book.idle(), delay(settleMs, undefined, { ref: false })]);
      storedCheck.close();
      book.close();
      keys.close();
      collector.close();
      health.close();
      publisher.close();
      await connection.close();
    },
  };
}
