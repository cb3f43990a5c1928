/**
 * @module The running node: everything put together, in the order in which it must come up. Nothing
 * is signed before THSM_KEY is read to its end and the shares of dead keys are erased.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { toBase64url } from "../identity/encoding.js";
import type { IdentityKey } from "../identity/identity-key.js";
import type { Logger } from "../log.js";
import type { NodeIgnored, NodeStarted } from "../streams/audit-events.js";
import type { Heartbeat } from "../streams/beats.js";
import { connectBus } from "../streams/connection.js";
import { consume } from "../streams/consume.js";
import { messageHeaders, signMessage, type StoredMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import { StreamFollower } from "../streams/follow.js";
import { Publisher } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { nodeConsumer } from "../streams/settings.js";
import { allKeys, formatSubject, streamNames } from "../streams/subjects.js";
import { Answers } from "./answers.js";
import type { NodeConfig } from "./config.js";
import { Enrollment } from "./enrollment.js";
import { IgnoredMessages } from "./ignored.js";
import { Journal } from "./journal.js";
import { KeyDirectory } from "./key-directory.js";
import { KeyStore } from "./key-store.js";
import { Outbox, readMarker, type Said } from "./outbox.js";
import { RequestHandler } from "./request-handler.js";
import { SigningKeys } from "./signing-keys.js";
import { SigningPool } from "./signing-pool.js";
import { reconcile } from "./reconcile.js";

const beatMs = 1000;
const ignoredMs = 60_000;
const forgetMs = 5000;
const startRetryMs = 1000;
const drainMs = 5000;

export interface NodeOptions {
  readonly config: NodeConfig;
  readonly cluster: Cluster;
  readonly key: IdentityKey;
  readonly log: Logger;
  /** Ends a start that is still waiting for the broker. */
  readonly signal: AbortSignal;
  /** Called once when the node cannot go on: the process must end and start anew. */
  readonly onFailure: (error: HsmError) => void;
  readonly now?: () => number;
}

export interface RunningNode {
  /** Finishes what is in work, for 5 s at most; the rest is taken up at the next start. */
  stop(): Promise<void>;
}

/**
 * Starts a node: resolves when it serves. Waits for the broker for as long as it takes.
 * @throws HsmError `ERR_JOURNAL`, `ERR_ABORTED`, `ERR_BROKER`, and what opening its files throws
 */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const undo: (() => Promise<void> | void)[] = [];
  try {
    return await start(options, undo);
  } catch (error) {
    await unwind(undo);
    throw error;
  }
}

async function start(
  options: NodeOptions,
  undo: (() => Promise<void> | void)[],
): Promise<RunningNode> {
  const { config, cluster, key, log, onFailure, now = Date.now } = options;
  const { name: node, dataDir, clockToleranceMs, maxRequestLifetimeMs } = config;
  const boot = toBase64url(randomBytes(16));
  const answerLifetimeMs = maxRequestLifetimeMs + clockToleranceMs;

  const store = await KeyStore.open(dataDir);
  const markerPath = join(dataDir, "published");
  const published = await readMarker(markerPath);
  const since = new Date(now() - answerLifetimeMs).toISOString();
  const { journal, recent } = await Journal.open(
    { directory: join(dataDir, "journal"), key, cluster, log, onFailure },
    ({ n, time }) => n > published || time >= since,
  );
  undo.push(() => journal.close());
  const answers = new Answers();
  answers.restore(recent, answerLifetimeMs);

  const connection = await connectUnless(options);
  undo.push(() => connection.close());
  const reader = new StreamReader(connection);
  const publisher = new Publisher(connection, reader, node);
  undo.push(() => publisher.close());
  const outbox = new Outbox({ journal, publisher, markerPath, published, log });
  undo.push(() => outbox.close());

  const pool = new SigningPool(config.workers);
  undo.push(() => pool.close());
  const keys = new SigningKeys(store, pool);
  const ignored = new IgnoredMessages(log);
  let enrollment: Enrollment | undefined;
  const directory = new KeyDirectory({
    cluster,
    node,
    ignored,
    onChange: (entry) => enrollment?.consider(entry),
  });
  const follower = new StreamFollower({
    connection,
    reader,
    stream: streamNames.keys,
    filter: allKeys,
    log,
    apply: (message) => directory.apply(message),
  });
  undo.push(() => follower.close());
  const catchUp = (): Promise<void> => follower.catchUp();
  await persist(options, catchUp);

  const compare = async (): Promise<void> => {
    const lastKeyEvent = directory.lastOwn;
    const again = await reconcile({ node, cluster, reader, journal, outbox, lastKeyEvent });
    if (again > 0) log.warn({ messages: again }, "the broker had lost messages; published again");
  };
  await persist(options, compare);
  for (const entry of recent.filter(({ n }) => n > published)) void outbox.publish(entry);

  const shared = { node, cluster, directory, store, outbox, ignored, log, catchUp, now };
  enrollment = new Enrollment({
    ...shared,
    clockToleranceMs,
    dealLifetimeMs: maxRequestLifetimeMs,
    onDead: (dead) => keys.erase(dead),
  });
  await enrollment.start();
  const handler = new RequestHandler({
    ...shared,
    keys,
    pool,
    answers,
    maxRequestLifetimeMs,
    clockToleranceMs,
  });

  const say = (event: Omit<NodeStarted | NodeIgnored, "n" | "prev">): Promise<Said> =>
    outbox.say(streamNames.audit, formatSubject({ kind: "node-audit", node }), event);
  const head = (): { version: number; node: string; time: string } => ({
    version: formatVersion,
    node,
    time: new Date(now()).toISOString(),
  });
  const started: Omit<NodeStarted, "n" | "prev"> = { ...head(), type: "node-started", boot };
  await say(started);

  const tellIgnored = async (): Promise<void> => {
    const counts = ignored.take();
    if (counts.length === 0) return;
    const event: Omit<NodeIgnored, "n" | "prev"> = { ...head(), type: "ignored", counts };
    await (
      await say(event)
    ).stored;
  };
  let beats = 0;
  const beat = (): void => {
    const body: Heartbeat = {
      ...head(),
      boot,
      beat: beats++,
      queued: pool.waiting,
      activeKeys: directory.activeCount,
    };
    const message = signMessage(key, "", formatSubject({ kind: "beat", node }), body);
    connection.publish(message.subject, message.payload, { headers: messageHeaders(message) });
  };
  const logFailure = (error: unknown): void => {
    log.error({ error: describeError(error) }, "a periodic task failed");
  };
  const timers = [
    setInterval(beat, beatMs),
    setInterval(() => void tellIgnored().catch(logFailure), ignoredMs),
    setInterval(() => answers.forgetExpired(now()), forgetMs),
  ];
  undo.push(() => timers.forEach((timer) => clearInterval(timer)));

  const stopping = new AbortController();
  const consumer = {
    connection,
    consumer: nodeConsumer(node),
    log,
    signal: stopping.signal,
    ignore: (error: HsmError) => ignored.count(error.code, error.message),
  };
  const consumers = [
    consume({ ...consumer, stream: streamNames.requests, handle: (one) => handler.handle(one) }),
    consume({
      ...consumer,
      stream: streamNames.deals,
      handle: (one) => enrollment.handle(one),
    }),
  ];
  undo.push(() => stopping.abort());
  const afterReconnect = async (): Promise<void> => {
    await requireSameHistory(reader, directory.last);
    await catchUp();
    await compare();
  };
  void watchReconnects(connection, afterReconnect, options);
  beat();
  log.info({ node, boot, keys: directory.activeCount }, "serving");

  return {
    async stop() {
      stopping.abort();
      const drained = Promise.all([...consumers, handler.idle(), enrollment.idle()])
        .then(tellIgnored)
        .catch(logFailure);
      await Promise.race([drained, delay(drainMs, undefined, { ref: false })]);
      await unwind(undo);
    },
  };
}

/** Undoes the steps of a start, the last one first. */
async function unwind(undo: (() => Promise<void> | void)[]): Promise<void> {
  for (const step of undo.splice(0).toReversed()) await step();
}

async function connectUnless({
  config,
  cluster,
  log,
  signal,
}: NodeOptions): Promise<NatsConnection> {
  const { tls } = config;
  if ((tls === undefined) !== (cluster.tlsCa === undefined)) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      "tlsCa in cluster.toml and tlsCert, tlsKey in node.toml go together",
    );
  }
  const connecting = connectBus({
    servers: cluster.servers,
    name: config.name,
    loginFile: config.loginFile,
    ...(tls === undefined || cluster.tlsCa === undefined
      ? {}
      : { tls: { caFile: cluster.tlsCa, ...tls } }),
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
async function persist(
  { log, signal }: Pick<NodeOptions, "log" | "signal">,
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

/**
 * After an outage: the broker may have come back without the newest messages, and given their
 * numbers to others. What was read from it is void then; only a start from the beginning helps.
 */
async function requireSameHistory(
  reader: StreamReader,
  last: StoredMessage | undefined,
): Promise<void> {
  if (last === undefined) return;
  const entry = await reader.at(streamNames.keys, last.seq);
  if (entry === undefined || !("message" in entry) || entry.message.hash !== last.hash) {
    throw new HsmError(
      "ERR_AUDIT_MISMATCH",
      `${streamNames.keys} has another message ${last.seq} than before the outage`,
    );
  }
}

async function watchReconnects(
  connection: NatsConnection,
  afterReconnect: () => Promise<void>,
  { log, onFailure }: NodeOptions,
): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type !== "reconnect") continue;
    try {
      await afterReconnect();
    } catch (error) {
      const isFatal =
        error instanceof HsmError &&
        (error.code === "ERR_AUDIT_MISMATCH" || error.code === "ERR_JOURNAL");
      if (isFatal) onFailure(error);
      else log.warn({ error: describeError(error) }, "cannot compare the streams with the journal");
    }
  }
}
