/** @module `thsm-pkcs11d --check`: what an administrator wants to know before the daemon is started. */
import { dirname, resolve } from "node:path";
import { connect, requireSafeDirectory, type HsmClient } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import { silentLogger, type Logger } from "../log.js";
import { readConfig } from "./config.js";
import { requirePeers } from "./peers.js";
import { isAnswered } from "./server.js";

export interface Finding {
  readonly what: "configuration" | "socket" | "client" | "cluster" | "keys";
  readonly isGood: boolean;
  readonly text: string;
}

const clusterMs = 5_000;

/** One finding after the other; what depends on something that is not good is left out. */
export async function* checkDaemon(path: string): AsyncGenerator<Finding> {
  const read = await examine("configuration", async () => [await readConfig(path), path]);
  yield read.finding;
  if (read.value === undefined) return;
  const { client: clientFile, socket, socketMode, peers } = read.value;
  const looked = await examine("socket", async () => {
    requirePeers(peers);
    return [socket, await checkSocket(socket, socketMode)];
  });
  yield looked.finding;

  const said = new Set<string>();
  const configFile = resolve(dirname(path), clientFile);
  const opened = await examine("client", async () => {
    const client = await connect({ configFile, log: recorder(said) });
    return [client, `${configFile}: ${client.name}, identity and cluster fit`];
  });
  yield opened.finding;
  if (opened.value === undefined) return;
  try {
    for (const token of opened.value.tokens) yield* checkToken(opened.value, token, said);
  } finally {
    await opened.value.close();
  }
}

async function* checkToken(
  client: HsmClient,
  token: string,
  said: ReadonlySet<string>,
): AsyncGenerator<Finding> {
  const { finding, value: keys } = await examine("cluster", async () => {
    const list = client.keys(token, { timeoutMs: clusterMs });
    const text = `NATS answers, the keys of token ${token} can be read`;
    return [await list.catch((error: unknown) => Promise.reject(withReasons(error, said))), text];
  });
  yield finding;
  if (keys === undefined) return;
  // A new cluster has no keys: worth saying, nothing wrong.
  const text =
    keys.length > 0
      ? `token ${token} has ${keys.length}`
      : `token ${token} has none yet: applications make them, or thsm key generate --token ${token}`;
  yield { what: "keys", isGood: true, text };
}

async function checkSocket(path: string, mode: string): Promise<string> {
  if (await isAnswered(path)) return `a daemon listens on ${path}`;
  await requireSafeDirectory(dirname(path)).catch((error: unknown) => {
    if (!(error instanceof HsmError) || error.code !== "ERR_INVALID_CONFIG") throw error;
    throw new HsmError(
      error.code,
      `no directory ${dirname(path)}: make it, or enable thsm-pkcs11d.socket, which does`,
    );
  });
  return `${path} is free, mode ${mode}`;
}

/** Runs one look: its value, when there is one, and what to say of it. */
async function examine<Value>(
  what: Finding["what"],
  look: () => Promise<readonly [value: Value, text: string]>,
): Promise<{ readonly finding: Finding; readonly value?: Value }> {
  try {
    const [value, text] = await look();
    return { value, finding: { what, isGood: true, text } };
  } catch (error) {
    return { finding: { what, isGood: false, text: describeError(error) } };
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
