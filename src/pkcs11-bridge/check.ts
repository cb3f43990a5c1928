/** @module `thsm-pkcs11d --check`: what an administrator wants to know before the daemon is started. */
import { dirname, resolve } from "node:path";
import { connect, type HsmClient } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import { silentLogger, type Logger } from "../log.js";
import { readConfig } from "./config.js";
import { assertPrivateDirectory, isAnswered } from "./server.js";

export interface Finding {
  readonly what: "configuration" | "socket" | "client" | "cluster" | "keys";
  readonly isGood: boolean;
  readonly text: string;
}

const clusterMs = 10_000;

/** One finding after the other; what depends on something that is not good is left out. */
export async function* checkDaemon(path: string): AsyncGenerator<Finding> {
  const { config, finding } = await examine("configuration", async () => {
    const config = await readConfig(path);
    return { config, text: path };
  });
  yield finding;
  if (config === undefined) return;
  yield (await examine("socket", () => checkSocket(config.socket, config.socketMode))).finding;

  const said = new Set<string>();
  const clientFile = resolve(dirname(path), config.client);
  const { client, finding: clientFinding } = await examine("client", async () => {
    const client = await connect({ configFile: clientFile, log: recorder(said) });
    return { client, text: `${clientFile}: ${client.name}, identity and cluster fit` };
  });
  yield clientFinding;
  if (client === undefined) return;
  try {
    yield* checkCluster(client, said);
  } finally {
    await client.close();
  }
}

async function* checkCluster(client: HsmClient, said: ReadonlySet<string>): AsyncGenerator<Finding> {
  for (const token of client.tokens) {
    const { keys, finding } = await examine("cluster", async () => {
      const keys = await client.keys(token, { timeoutMs: clusterMs }).catch((error: unknown) => {
        throw withReasons(error, said);
      });
      return { keys, text: `NATS answers, the keys of token ${token} can be read` };
    });
    yield finding;
    if (keys === undefined) return;
    const isGood = keys.length > 0;
    const text = isGood
      ? `token ${token} has ${keys.length}`
      : `token ${token} has none yet: applications make them, or thsm key generate --token ${token}`;
    // A new cluster has no keys: worth saying, nothing wrong.
    yield { what: "keys", isGood: true, text };
  }
}

async function checkSocket(path: string, mode: string): Promise<{ text: string }> {
  if (await isAnswered(path)) return { text: `a daemon listens on ${path}` };
  await assertPrivateDirectory(dirname(path)).catch((error: unknown) => {
    if (!(error instanceof HsmError) || error.code !== "ERR_INVALID_CONFIG") throw error;
    throw new HsmError(
      error.code,
      `no directory ${dirname(path)}: make it, or enable thsm-pkcs11d.socket, which does`,
    );
  });
  return { text: `${path} is free, mode ${mode}` };
}

async function examine<Found extends { text: string }>(
  what: Finding["what"],
  look: () => Promise<Found>,
): Promise<Partial<Found> & { finding: Finding }> {
  try {
    const found = await look();
    return { ...found, finding: { what, isGood: true, text: found.text } };
  } catch (error) {
    const failed: Partial<Found> = {};
    return { ...failed, finding: { what, isGood: false, text: describeError(error) } };
  }
}

/** The client connects in the background, and tells its log why it does not succeed. */
function recorder(said: Set<string>): Logger {
  const record = (facts: object): void => {
    if ("error" in facts) said.add(String(facts.error));
  };
  const logger: Logger = { ...silentLogger, warn: record, error: record, child: () => logger };
  return logger;
}

function withReasons(error: unknown, said: ReadonlySet<string>): unknown {
  if (!(error instanceof HsmError) || said.size === 0) return error;
  return new HsmError(error.code, `${error.message}: ${[...said].join("; ")}`, { cause: error });
}
