/**
 * @module Creates what is missing of streams and consumers, and refuses to go on with one that is
 * not as declared. Run by the provisioner, whose login can create and nothing else.
 */
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../errors.js";
import { nodeConsumers, streamSettings, type StreamLimits } from "./settings.js";

/**
 * Idempotent.
 * @throws HsmError `ERR_BROKER` when the server refuses, or answers with other settings than asked
 * for (older servers drop silently what they do not know)
 */
export async function provision(
  connection: NatsConnection,
  limits: StreamLimits,
  nodes: readonly string[],
  replicas: number,
): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
  for (const wanted of streamSettings(limits, replicas)) {
    const { config } = await attempt(`create stream ${wanted.name}`, () =>
      // Creating a stream that exists with the same settings succeeds.
      manager.streams.add({ ...wanted, name: wanted.name ?? "" }),
    );
    requireSame(wanted, config);
  }
  for (const node of nodes) {
    for (const [stream, wanted] of nodeConsumers(node)) {
      await attempt(`create consumer ${wanted.durable_name} of ${stream}`, () =>
        manager.consumers.add(stream, wanted),
      );
    }
  }
}

function requireSame(wanted: Partial<StreamConfig>, got: StreamConfig): void {
  const actual = new Map<string, unknown>(Object.entries(got));
  for (const [field, value] of Object.entries(wanted)) {
    // The server leaves out what is false.
    const found = actual.get(field) ?? false;
    if (JSON.stringify(found) !== JSON.stringify(value)) {
      throw new HsmError(
        "ERR_BROKER",
        `stream ${wanted.name}: expected ${field} = ${JSON.stringify(value)}, got ${JSON.stringify(found)}`,
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
