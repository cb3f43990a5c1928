/**
 * @module `thsm provision`: the streams, and each node's consumers, made once by a login that can do
 * nothing else. Nodes and clients wait until it has run.
 */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  JetStreamApiError,
  jetstreamManager,
  type JetStreamManager,
  type StreamInfo,
} from "@nats-io/jetstream";
import { Equals, IsOptional, IsString } from "class-validator";
import { InvalidArgumentError, type Command } from "commander";
import { errors, type NatsConnection } from "nats";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { readCluster, type Cluster } from "../identity/cluster.js";
import { createLogger } from "../log.js";
import { connectBus } from "../streams/connection.js";
import { provision, updateStream } from "../streams/provision.js";
import { developmentLimits, type StreamLimits } from "../streams/settings.js";
import { streamNames } from "../streams/subjects.js";
import { validated } from "../validate.js";
import { formatBytes, parseBytes } from "./bytes.js";
import { print, say, type GlobalOptions } from "./context.js";
import { provisioner } from "./nats-permissions.js";

export interface ProvisionOptions {
  /** Path of provisioner.toml. */
  readonly configFile: string;
  /** Absent ones stay as they are, or get their default. */
  readonly limits?: Partial<StreamLimits>;
  readonly replicas?: number;
  /** Raise the limits of streams that exist; the login must have been allowed to. */
  readonly grow?: boolean;
  /** How long to wait for the servers. */
  readonly waitMs?: number;
}

export interface ProvisionedStream {
  readonly name: string;
  readonly maxBytes: number;
  readonly replicas: number;
  /** "updated": it had the settings of an earlier version. */
  readonly done: "created" | "grown" | "updated" | "unchanged";
}

export interface Provisioned {
  readonly streams: readonly ProvisionedStream[];
  /** The nodes whose consumers exist now. */
  readonly nodes: readonly string[];
}

class ProvisionerConfig {
  @Equals(1) readonly version!: number;
  /** Paths are relative to this file. */
  @IsString() readonly cluster!: string;
  @IsString() readonly loginFile!: string;
  @IsOptional() @IsString() readonly tlsCert?: string;
  @IsOptional() @IsString() readonly tlsKey?: string;
}

const defaultConfig = "/etc/thsm/provisioner.toml";
const tryMs = 5000;
const pauseMs = 500;
/** Numbers of the JetStream API's errors. */
const apiErrors = {
  noSuitablePeers: 10005,
  temporarilyUnavailable: 10008,
  insufficientStorage: 10047,
  otherSettings: 10058,
  notFound: 10059,
} as const;

/**
 * Makes what is missing; what exists stays as it is. Can be run again at any time.
 * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_BROKER_UNREACHABLE`, `ERR_BROKER`
 */
export async function provisionCluster(options: ProvisionOptions): Promise<Provisioned> {
  const { config, cluster } = await readProvisioner(options.configFile);
  const deadline = Date.now() + (options.waitMs ?? 0);
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await attempt(options, config, cluster);
    } catch (error) {
      if (!isPassing(error) || Date.now() > deadline) throw error;
      if (isFirst) say(`waiting for NATS at ${cluster.servers.join(", ")}`);
    }
    await sleep(pauseMs);
  }
}

/** Logs in as provisioner.toml says. @throws HsmError `ERR_INVALID_CONFIG`, `ERR_BROKER_UNREACHABLE` */
export async function connectProvisioner(configFile: string): Promise<NatsConnection> {
  const { config, cluster } = await readProvisioner(configFile);
  return await login(configFile, config, cluster);
}

/** Of a development cluster or what `thsm init` made, or where an installation has it. */
export function provisionerConfigOf(dir: string | undefined): string {
  return dir === undefined ? defaultConfig : join(dir, "provisioner", "provisioner.toml");
}

async function attempt(
  options: ProvisionOptions,
  config: ProvisionerConfig,
  cluster: Cluster,
): Promise<Provisioned> {
  const connection = await login(options.configFile, config, cluster);
  try {
    return await makeStreams(connection, cluster, options);
  } finally {
    await connection.close();
  }
}

function login(
  configFile: string,
  { loginFile, tlsCert, tlsKey }: ProvisionerConfig,
  cluster: Cluster,
): Promise<NatsConnection> {
  const at = (path: string): string => resolve(dirname(configFile), path);
  return connectBus({
    servers: cluster.servers,
    name: provisioner,
    loginFile: at(loginFile),
    tls: cluster.tlsOf({ tlsCert: tlsCert && at(tlsCert), tlsKey: tlsKey && at(tlsKey) }),
    log: createLogger("thsm", "error"),
    timeoutMs: tryMs,
  });
}

/** Servers that start, or have yet to find each other and choose a leader. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof HsmError)) return false;
  const { code, cause } = error;
  if (cause instanceof JetStreamApiError) {
    const { noSuitablePeers, temporarilyUnavailable } = apiErrors;
    return cause.code === noSuitablePeers || cause.code === temporarilyUnavailable;
  }
  return (
    code === "ERR_BROKER_UNREACHABLE" ||
    cause instanceof errors.TimeoutError ||
    // Not exported by the library.
    (cause instanceof Error && cause.name === "JetStreamNotEnabled")
  );
}

interface Flags {
  readonly dir?: string;
  readonly requests?: number;
  readonly shares?: number;
  readonly audit?: number;
  readonly keys?: number;
  readonly replicas?: number;
  readonly grow?: boolean;
  readonly wait: number;
}

export function addProvisionCommand(program: Command): void {
  const { requests, shares, audit, keys } = developmentLimits;
  program
    .command("provision")
    .description("create the streams, and the consumers of each node, where they are missing")
    .option("--dir <dir>", "a directory made by thsm init, instead of --config")
    .option("--requests <size>", `THSM_REQ: ${sizeHelp(requests)}`, parseBytes)
    .option("--shares <size>", `THSM_SHARE: ${sizeHelp(shares)}`, parseBytes)
    .option("--audit <size>", `THSM_AUDIT: ${sizeHelp(audit)}`, parseBytes)
    .option("--keys <size>", `THSM_KEY: ${sizeHelp(keys)}`, parseBytes)
    .option(
      "--replicas <n>",
      "copies of each stream (default: 3 with three servers)",
      parseReplicas,
    )
    .option("--grow", "raise the sizes of streams that exist (docs/operations.md, A full stream)")
    .option("--wait <seconds>", "how long to wait for NATS", parseSeconds, 10)
    .addHelpText(
      "after",
      `
Reads the provisioner's login from --config (default: ${defaultConfig}). Run it once
after the servers have started for the first time, and again after adding a node; what exists is
left alone. Signing ends when a stream is full: docs/operations.md says how to choose sizes.`,
    )
    .action(async (flags: Flags) => {
      const options = program.opts<GlobalOptions>();
      const { dir, grow, wait, replicas, ...limits } = flags;
      const configFile =
        options.config ??
        (dir === undefined ? defaultConfig : join(dir, "provisioner", "provisioner.toml"));
      const made = await provisionCluster({
        configFile,
        limits,
        waitMs: wait * 1000,
        ...(replicas === undefined ? {} : { replicas }),
        ...(grow === undefined ? {} : { grow }),
      });
      print(options, made, describe(made));
    });
}

function sizeHelp(bytes: number): string {
  return `size at which it is full (default: ${formatBytes(bytes)})`;
}

function describe({ streams, nodes }: Provisioned): string {
  const lines = streams.map(
    ({ name, maxBytes, replicas, done }) =>
      `${name.padEnd(11)}${formatBytes(maxBytes).padStart(9)}  replicas ${replicas}  ${done}`,
  );
  return [...lines, `consumers of ${nodes.join(", ")}`].join("\n");
}

async function readProvisioner(
  path: string,
): Promise<{ config: ProvisionerConfig; cluster: Cluster }> {
  let config;
  try {
    config = validated(
      ProvisionerConfig,
      parse(await readFile(path, "utf8")),
      "ERR_INVALID_CONFIG",
    );
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${describeError(cause)}`, { cause });
  }
  return { config, cluster: await readCluster(resolve(dirname(path), config.cluster)) };
}

async function makeStreams(
  connection: NatsConnection,
  cluster: Cluster,
  { limits = {}, replicas, grow = false }: ProvisionOptions,
): Promise<Provisioned> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: tryMs });
  const existing = new Map<string, StreamInfo>();
  for (const name of Object.values(streamNames)) {
    const info = await infoOf(manager, name);
    if (info !== undefined) existing.set(name, info);
  }
  // What is not asked for stays as it is: running this again must not need the same flags again.
  const limitOf = (kind: keyof StreamLimits): number =>
    limits[kind] ?? existing.get(streamNames[kind])?.config.max_bytes ?? developmentLimits[kind];
  const wanted = {
    requests: limitOf("requests"),
    shares: limitOf("shares"),
    audit: limitOf("audit"),
    keys: limitOf("keys"),
    deals: limitOf("deals"),
  };
  const [first] = existing.values();
  const copies = replicas ?? first?.config.num_replicas ?? (cluster.servers.length >= 3 ? 3 : 1);

  const grown = grow ? await growStreams(manager, existing, wanted, copies) : new Set<string>();
  const nodes = cluster.nodes.map(({ name }) => name);
  let updated: ReadonlySet<string>;
  try {
    updated = await provision(connection, wanted, nodes, copies);
  } catch (error) {
    throw explained(error, wanted, copies);
  }
  const kinds = ["requests", "shares", "audit", "keys", "deals"] as const;
  return {
    streams: kinds.map((kind) => ({
      name: streamNames[kind],
      maxBytes: wanted[kind],
      replicas: copies,
      done: doneTo(streamNames[kind], existing, grown, updated),
    })),
    nodes,
  };
}

function doneTo(
  name: string,
  existing: ReadonlyMap<string, StreamInfo>,
  grown: ReadonlySet<string>,
  updated: ReadonlySet<string>,
): ProvisionedStream["done"] {
  if (grown.has(name)) return "grown";
  if (updated.has(name)) return "updated";
  return existing.has(name) ? "unchanged" : "created";
}

async function infoOf(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (cause) {
    if (cause instanceof JetStreamApiError && cause.code === apiErrors.notFound) return undefined;
    throw new HsmError("ERR_BROKER", `cannot look for stream ${name}: ${describeError(cause)}`, {
      cause,
    });
  }
}

/** Only ever upwards: a smaller limit would erase what lies above it. */
async function growStreams(
  manager: JetStreamManager,
  existing: ReadonlyMap<string, StreamInfo>,
  wanted: StreamLimits,
  copies: number,
): Promise<Set<string>> {
  const grown = new Set<string>();
  for (const kind of ["requests", "shares", "audit", "keys"] as const) {
    const name = streamNames[kind];
    const now = existing.get(name)?.config.max_bytes;
    if (now === undefined || now >= wanted[kind]) continue;
    try {
      await updateStream(manager, name, { max_bytes: wanted[kind] }, `grow ${name}`);
    } catch (error) {
      throw explained(error, wanted, copies);
    }
    grown.add(name);
  }
  return grown;
}

/** The server's refusal, with what to do about it. */
function explained(error: unknown, wanted: StreamLimits, copies: number): unknown {
  if (!(error instanceof HsmError) || !(error.cause instanceof JetStreamApiError)) return error;
  const sum = Object.values(wanted).reduce((total: number, limit: number) => total + limit, 0);
  const advice = new Map<number, string>([
    [
      apiErrors.insufficientStorage,
      `with ${copies} of each, the streams reserve ${formatBytes(sum * copies)}: ask for less, or raise max_file of jetstream and of account THSM in server.conf, below the free disk`,
    ],
    [
      apiErrors.otherSettings,
      "it exists with other settings; sizes of what exists are changed by --grow only, and never downwards",
    ],
  ]).get(error.cause.code);
  if (advice === undefined) return error;
  return new HsmError("ERR_BROKER", `${error.message}; ${advice}`, { cause: error });
}

function parseReplicas(text: string): number {
  if (!/^[1-5]$/.test(text)) throw new InvalidArgumentError("expected a number from 1 to 5");
  return Number(text);
}

function parseSeconds(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError("expected seconds, 0 to 9999");
  return Number(text);
}
