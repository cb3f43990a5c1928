/**
 * @module What every command shares: how it speaks to people and programs, and how it fails.
 * Results go to stdout (JSON with --json), everything else to stderr.
 */
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { connect, readClientConfig, type HsmClient, type KeyInfo } from "../client/index.js";
import { HsmError } from "../errors.js";
import { readSecretFile } from "../identity/secret-file.js";
import { createLogger } from "../log.js";

export interface GlobalOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
}

const defaultConfig = "/etc/thsm/client.toml";

/** The answer of a command: one JSON value with --json, else text. */
export function print(options: GlobalOptions, value: unknown, text: string): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(value)}\n` : `${text}\n`);
}

/** A remark for the person who waits. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function configFile(options: GlobalOptions): string {
  return options.config ?? process.env["THSM_CONFIG"] ?? defaultConfig;
}

/** operator.toml: as named, of a development cluster, or the environment's. @throws HsmError `ERR_INVALID_CONFIG` */
export function operatorConfigOf(file: string | undefined, dir: string | undefined): string {
  const inDir = dir === undefined ? undefined : join(dir, "operator", "operator.toml");
  const found = file ?? inDir ?? process.env["THSM_OPERATOR_CONFIG"];
  if (found !== undefined) return found;
  throw new HsmError(
    "ERR_INVALID_CONFIG",
    "say which operator: --operator operator.toml, or --dir of a development cluster",
  );
}

/** Runs `action` with a connected client, and closes it whatever happens. */
export async function withClient<T>(
  options: GlobalOptions,
  action: (client: HsmClient) => Promise<T>,
): Promise<T> {
  const log = createLogger("thsm", options.debug === true ? "debug" : "error");
  const client = await connect({ configFile: configFile(options), log });
  try {
    return await action(client);
  } finally {
    await client.close();
  }
}

/** Opens the identity key: PIN from THSM_PIN, the configuration's pinSource, or the terminal. */
export async function login(options: GlobalOptions, client: HsmClient): Promise<void> {
  if (client.unlocked) return;
  const ticket = await client.unlock(await findPin(options));
  ticket.fill(0);
}

async function findPin(options: GlobalOptions): Promise<string> {
  const fromEnvironment = process.env["THSM_PIN"];
  if (fromEnvironment !== undefined) return fromEnvironment;
  const { pinSource } = await readClientConfig(configFile(options));
  return await readSecretText(
    pinSource,
    "PIN",
    "a PIN is needed: set pinSource in client.toml or THSM_PIN, or run this on a terminal",
  );
}

/**
 * A secret line out of a file that only its owner may read, or from the terminal.
 * @throws HsmError `ERR_NOT_LOGGED_IN` with the text `otherwise` when there is neither
 */
export async function readSecretText(
  source: string | undefined,
  prompt: string,
  otherwise: string,
): Promise<string> {
  if (source !== undefined) return (await readSecretFile(source)).toString("utf8").trim();
  if (!process.stdin.isTTY) throw new HsmError("ERR_NOT_LOGGED_IN", otherwise);
  process.stderr.write(`${prompt}: `);
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: muted, terminal: true });
  try {
    return await terminal.question("");
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}

/** A PIN that is new: from the terminal it is asked for twice. */
export async function readNewPin(source: string | undefined, otherwise: string): Promise<string> {
  const pin = await readSecretText(source, "new PIN", otherwise);
  if (source !== undefined) return pin;
  if ((await readSecretText(undefined, "new PIN again", otherwise)) === pin) return pin;
  throw new HsmError("ERR_INVALID_ARGUMENT", "the two new PINs differ");
}

/** The token that is meant: the one named, or the only one there is. */
export function chooseToken(client: HsmClient, name: string | undefined): string {
  const [first, second] = client.tokens;
  if (name !== undefined) return name;
  if (first === undefined) {
    throw new HsmError("ERR_INVALID_CONFIG", `client ${client.name} may use no token`);
  }
  if (second !== undefined) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `say which token with --token: ${client.tokens.join(", ")}`,
    );
  }
  return first;
}

/**
 * The active key that a person means: an id, the beginning of one, or a label.
 * @throws HsmError `ERR_UNKNOWN_KEY`, `ERR_INVALID_ARGUMENT` when several fit
 */
export async function chooseKey(
  client: HsmClient,
  token: string | undefined,
  wanted: string,
): Promise<KeyInfo> {
  const tokens = token === undefined ? client.tokens : [token];
  const keys = (await Promise.all(tokens.map((name) => client.keys(name)))).flat();
  const byLabel = keys.filter(({ label }) => label === wanted);
  const isIdStart = /^[0-9a-f]{4,32}$/.test(wanted);
  const byId = isIdStart ? keys.filter(({ keyId }) => keyId.startsWith(wanted)) : [];
  const found = byLabel.length > 0 ? byLabel : byId;
  const [key, another] = found;
  if (key === undefined) {
    throw new HsmError(
      "ERR_UNKNOWN_KEY",
      `no active key has the label or id ${JSON.stringify(wanted)}; see: thsm key list`,
    );
  }
  if (another !== undefined) {
    const ids = found.map(({ keyId }) => keyId).join(", ");
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `${JSON.stringify(wanted)} fits several keys: ${ids}`,
    );
  }
  return key;
}
