/**
 * @module Creates what is missing of streams and consumers, brings those of an earlier version in line
 * where the server lets it, and refuses to go on with one that is not as declared. Run by the
 * provisioner, whose login can create and nothing else unless it is told to for a while.
 */
import {
  JetStreamApiError,
  jetstreamManager,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../errors.js";
import { nodeConsumers, streamSettings, type StreamLimits } from "./settings.js";

/** What a later version may have changed in a stream that exists: nothing that erases what is kept. */
const migrated = ["max_age", "allow_direct"] as const;
/** Numbers of the JetStream API's errors. */
const otherSettings = 10058;
const consumerNotFound = 10014;

/**
 * Idempotent. Returns the names of streams that were made by an earlier version and are updated now.
 * @throws HsmError `ERR_BROKER` when the server refuses, or answers with other settings than asked
 * for (older servers drop silently what they do not know)
 */
export async function provision(
  connection: NatsConnection,
  limits: StreamLimits,
  nodes: readonly string[],
  replicas: number,
): Promise<Set<string>> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
  const updated = new Set<string>();
  for (const settings of streamSettings(limits, replicas)) {
    const wanted = { ...settings, name: settings.name ?? "" };
    if (await make(manager, wanted)) updated.add(wanted.name);
  }
  const outdated: string[] = [];
  for (const node of nodes) {
    for (const [stream, wanted] of nodeConsumers(node)) {
      const name = wanted.durable_name ?? "";
      const what = `consumer ${name} of ${stream}`;
      const found = await policyOf(manager, stream, name);
      if (found === undefined || found === wanted.deliver_policy) {
        await attempt(`create ${what}`, () => manager.consumers.add(stream, wanted));
      } else {
        outdated.push(`${what} (deliver_policy ${found}, expected ${wanted.deliver_policy})`);
      }
    }
  }
  if (outdated.length > 0) {
    throw new HsmError(
      "ERR_BROKER",
      `made by an earlier version, and not to be changed in place: ${outdated.join(", ")}; ` +
        "remove them and provision again (docs/operations.md, Upgrades)",
    );
  }
  return updated;
}

/** Updates a stream. The provisioner may do so only while it is allowed to. */
export async function updateStream(
  manager: JetStreamManager,
  name: string,
  changes: Partial<StreamConfig>,
  what: string,
): Promise<StreamConfig> {
  try {
    return (await manager.streams.update(name, changes)).config;
  } catch (cause) {
    const reason = describeError(cause);
    const advice = /permission/i.test(reason)
      ? `; for the time of this command add "$JS.API.STREAM.UPDATE.${name}" to what the provisioner may publish in server.conf, and reload the servers`
      : "";
    throw new HsmError("ERR_BROKER", `cannot ${what}: ${reason}${advice}`, { cause });
  }
}

type NamedStream = Partial<StreamConfig> & { readonly name: string };

/** Whether it existed with the settings of an earlier version. */
async function make(manager: JetStreamManager, wanted: NamedStream): Promise<boolean> {
  const { name } = wanted;
  try {
    // Creating a stream that exists with the same settings succeeds. The library writes to what it is given.
    requireSame(wanted, (await manager.streams.add({ ...wanted })).config);
    return false;
  } catch (cause) {
    if (cause instanceof HsmError) throw cause;
    const isOther = cause instanceof JetStreamApiError && cause.code === otherSettings;
    const what = `create stream ${name}: ${describeError(cause)}`;
    if (!isOther) throw new HsmError("ERR_BROKER", `cannot ${what}`, { cause });
    const { config } = await attempt(`look for stream ${name}`, () => manager.streams.info(name));
    const { max_age = 0, allow_direct = false } = wanted;
    requireSame(wanted, { ...config, max_age, allow_direct }, cause);
    const old = migrated.map((field) => `${field} = ${String(config[field] ?? false)}`);
    const change = `update stream ${name} of an earlier version (${old.join(", ")})`;
    requireSame(wanted, await updateStream(manager, name, { max_age, allow_direct }, change));
    return true;
  }
}

async function policyOf(
  manager: JetStreamManager,
  stream: string,
  name: string,
): Promise<string | undefined> {
  return await attempt(`look for consumer ${name} of ${stream}`, async () => {
    try {
      return (await manager.consumers.info(stream, name)).config.deliver_policy;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === consumerNotFound) return undefined;
      throw error;
    }
  });
}

function requireSame(wanted: NamedStream, got: StreamConfig, cause?: unknown): void {
  const actual = new Map<string, unknown>(Object.entries(got));
  for (const [field, value] of Object.entries(wanted)) {
    // The server leaves out what is false.
    const found = actual.get(field) ?? false;
    if (JSON.stringify(found) !== JSON.stringify(value)) {
      throw new HsmError(
        "ERR_BROKER",
        `stream ${wanted.name}: expected ${field} = ${JSON.stringify(value)}, got ${JSON.stringify(found)}`,
        { cause },
      );
    }
  }
}

async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw new HsmError("ERR_BROKER", `cannot ${what}: ${describeError(cause)}`, { cause });
  }
}
