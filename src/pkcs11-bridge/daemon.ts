/** @module The daemon's life: it serves at once, and connects to the cluster for as long as it takes. */
import { setTimeout as delay } from "node:timers/promises";
import type { HsmClient } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import { Pkcs11Server, type ServerOptions } from "./server.js";

const firstDelayMs = 200;
const maxDelayMs = 5000;
const drainMs = 10_000;

export interface DaemonOptions extends Omit<ServerOptions, "client" | "drainMs"> {
  /** Fires to end the daemon. */
  readonly signal: AbortSignal;
  readonly connect: (signal: AbortSignal) => Promise<HsmClient>;
}

/**
 * Runs until `signal` fires. A cluster that is away is waited for; modules are told to retry.
 * @throws HsmError for what waiting does not mend, such as `ERR_INVALID_CONFIG`.
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { log, signal } = options;
  let client: HsmClient | undefined;
  const server = new Pkcs11Server({ ...options, drainMs, client: () => client });
  await server.listen();
  try {
    client = await connectPatiently(options);
    if (client !== undefined) log.info({ tokens: client.tokens }, "connected");
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }
  } finally {
    log.info({}, "stopping");
    await server.close();
    await client?.close();
  }
}

async function connectPatiently(options: DaemonOptions): Promise<HsmClient | undefined> {
  const { log, signal } = options;
  for (let delayMs = firstDelayMs; !signal.aborted; delayMs = Math.min(2 * delayMs, maxDelayMs)) {
    try {
      return await options.connect(signal);
    } catch (error) {
      if (signal.aborted) break;
      const isPassing = error instanceof HsmError && passing.has(error.code);
      if (!isPassing) throw error;
      log.warn({ reason: describeError(error), delayMs }, "cluster unreachable");
    }
    await delay(delayMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

const passing: ReadonlySet<string> = new Set([
  "ERR_BROKER_UNREACHABLE",
  "ERR_BROKER",
  "ERR_DEADLINE",
]);
