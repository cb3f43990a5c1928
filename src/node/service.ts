/**
 * @module The running node: everything put together, in the order in which it must come up. Nothing
 * is signed before THSM_KEY is read to its end and the shares of dead keys are erased.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describeError, type HsmError } from "../errors.js";
import type { IdentityKey } from "../identity/identity-key.js";
import { consume, type Junk } from "../streams/consume.js";
import { StreamFollower } from "../streams/follow.js";
import { Publisher } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { nodeConsumer } from "../streams/settings.js";
import { allKeys, formatSubject, streamNames } from "../streams/subjects.js";
import { Announcements } from "./announcements.js";
import { Answers } from "./answers.js";
import { connectUnlessStopped, persist, watchConnection, type BrokerOptions } from "./broker.js";
import { Checkpoints } from "./checkpoints.js";
import { Enrollment } from "./enrollment.js";
import { HistoryGuard } from "./history-guard.js";
import { IgnoredMessages } from "./ignored.js";
import { Journal } from "./journal.js";
import { KeyDirectory } from "./key-directory.js";
import { KeyStore } from "./key-store.js";
import { Outbox, readMarker } from "./outbox.js";
import { RateLimits } from "./rate-limits.js";
import { RequestHandler } from "./request-handler.js";
import { SigningKeys } from "./signing-keys.js";
import { SigningPool } from "./signing-pool.js";
import { reconcile } from "./reconcile.js";

const beatMs = 1000;
const ignoredMs = 60_000;
const forgetMs = 5000;
const drainMs = 5000;
const compareMs = 5000;

export interface NodeOptions extends BrokerOptions {
  readonly key: IdentityKey;
  /** Called when the node cannot go on: the process must end and start anew. */
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
  const { checkpointSeconds } = config;
  const answerLifetimeMs = maxRequestLifetimeMs + clockToleranceMs;

  const store = await KeyStore.open(dataDir);
  const rates = await RateLimits.open(dataDir, now);
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

  const checkpoints = await Checkpoints.open({
    dataDir,
    node,
    cluster,
    key,
    log,
    onFailure,
    now,
    intervalMs: checkpointSeconds * 1000,
  });
  undo.push(() => checkpoints.close());

  const connection = await connectUnlessStopped(options);
  undo.push(() => connection.close());
  const reader = new StreamReader(connection);
  const publisher = new Publisher(connection, reader, node);
  undo.push(() => publisher.close());
  const outbox = new Outbox({ journal, publisher, markerPath, published, log });
  undo.push(() => outbox.close());
  checkpoints.speakBy(outbox);

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
  const guard = await HistoryGuard.open({ dataDir, log });
  const requireHistory = (): Promise<void> => guard.compare(reader, directory.last);
  await persist(options, requireHistory);
  let requestsBefore = 0;
  await persist(options, async () => {
    requestsBefore = (await reader.state(streamNames.requests))?.last ?? 0;
  });

  const compare = async (): Promise<void> => {
    const lastKeyEvent = directory.lastOwn;
    const again = await reconcile({ node, cluster, reader, journal, outbox, lastKeyEvent });
    for (const { message } of again) directory.hasSaid(message);
    const messages = again.length;
    if (messages > 0) log.warn({ messages }, "the broker had lost messages; published again");
  };
  await persist(options, compare);
  for (const entry of recent.filter(({ n }) => n > published)) {
    void outbox.publish(entry);
    directory.hasSaid(entry.message);
  }

  const shared = { node, cluster, directory, store, outbox, ignored, log, catchUp, guard, now };
  enrollment = new Enrollment({
    ...shared,
    clockToleranceMs,
    dealLifetimeMs: maxRequestLifetimeMs,
    dealt: (dealt) =>
      reader.last(streamNames.deals, formatSubject({ kind: "deal", node, key: dealt })),
    onDead: async (dead) => {
      await keys.erase(dead);
      await rates.forget(dead);
    },
  });
  await enrollment.start();
  const handler = new RequestHandler({
    ...shared,
    keys,
    pool,
    rates,
    answers,
    checkpoints,
    requestsBefore,
    maxRequestLifetimeMs,
    clockToleranceMs,
  });

  const voice = new Announcements({ ...shared, key, connection, pool });
  await voice.sayStarted();
  const logFailure = (error: unknown): void => {
    log.error({ error: describeError(error) }, "a periodic task failed");
  };
  const timers = [
    setInterval(() => voice.beat(), beatMs),
    setInterval(() => void enrollment.lookForShares(), beatMs),
    setInterval(() => checkpoints.tick(), beatMs),
    setInterval(() => void voice.sayIgnored().catch(logFailure), ignoredMs),
    setInterval(() => {
      answers.forgetExpired(now());
      enrollment.endOverdue();
    }, forgetMs),
    // Not an error while the broker is away: then nothing is signed either.
    setInterval(() => void requireHistory().catch(() => undefined), compareMs),
  ];
  undo.push(() => timers.forEach((timer) => clearInterval(timer)));

  const stopping = new AbortController();
  const consumer = {
    connection,
    consumer: nodeConsumer(node),
    log,
    signal: stopping.signal,
    ignore: (error: HsmError, junk: Junk) => {
      ignored.count(error.code, error.message);
      junk.ack();
    },
  };
  const consumers = [
    consume({
      ...consumer,
      stream: streamNames.requests,
      handle: (one) => checkpoints.take(one, (known) => handler.handle(known)),
      ignore: (error, junk) => {
        ignored.count(error.code, error.message);
        checkpoints.takeJunk(junk);
      },
    }),
    consume({
      ...consumer,
      stream: streamNames.deals,
      handle: (one) => enrollment.handle(one),
    }),
  ];
  undo.push(() => stopping.abort());
  const afterReconnect = async (): Promise<void> => {
    await requireHistory();
    if (guard.breach !== undefined) return;
    await catchUp();
    await compare();
  };
  void watchConnection(connection, afterReconnect, log, (error) => {
    if (!stopping.signal.aborted) onFailure(error);
  });
  voice.beat();
  log.info({ keys: directory.activeCount }, "serving");

  return {
    async stop() {
      stopping.abort();
      const drained = Promise.all([...consumers, handler.idle(), enrollment.idle()])
        .then(() => voice.sayIgnored())
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
