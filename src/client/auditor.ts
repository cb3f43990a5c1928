/** @module auditor.toml, and an auditor's connection: reads everything that is kept, writes nothing. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { connect, type NatsConnection } from "nats";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { readCluster, type Cluster } from "../identity/cluster.js";
import { silentLogger, type Logger } from "../log.js";
import { validated } from "../validate.js";
import { readIdentityFile } from "../identity/identity-file.js";
import { readBookmark, writeBookmark, type Bookkeeper } from "./audit/bookmark.js";
import type { Mark } from "./audit/positions.js";
import { exportedHistory } from "./audit/ndjson.js";
import { joinedHistory } from "./audit/joined.js";
import { liveHistory, type HistorySource } from "./audit/sources.js";
import { connectMember, MemberConfig, type MemberFile } from "./member.js";

/** `identityFile` signs bookmarks. Default: identity.json beside auditor.toml. */
class AuditorConfig extends MemberConfig {}

export interface AuditOptions {
  /** Path of auditor.toml. */
  readonly configFile: string;
  /** A directory that was exported before, instead of the cluster's streams. */
  readonly exportDir?: string;
  /** A scratch server with a replayed history, likewise. Nobody logs in there. */
  readonly server?: string;
  /** Exports from before rotations, oldest first: they and the source are one history. */
  readonly with?: readonly string[];
  readonly log?: Logger;
}

/** A history to audit, and the cluster whose members it must be from. */
export interface OpenHistory {
  readonly source: HistorySource;
  readonly cluster: Cluster;
  /** The auditor's bookmark in a file, if there is one yet. @see readBookmark */
  bookmark(path: string): Promise<OpenBookmark>;
  close(): Promise<void>;
}

export interface OpenBookmark {
  /** What the last audit left; undefined at the first. */
  readonly mark: Mark | undefined;
  readonly remember: (mark: Mark) => void;
  /** Signs and writes what was remembered. */
  save(): Promise<void>;
}

const connectMs = 10_000;

/**
 * Opens the history that an auditor may read.
 * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`, `ERR_BROKER_UNREACHABLE`
 */
export async function openHistory(options: AuditOptions): Promise<OpenHistory> {
  const history = await openSource(options);
  const before = options.with ?? [];
  if (before.length === 0) return history;
  return { ...history, source: joinedHistory([...before.map(exportedHistory), history.source]) };
}

async function openSource(options: AuditOptions): Promise<OpenHistory> {
  const { configFile, exportDir, server, log = silentLogger } = options;
  const { config, cluster, at } = await readAuditor(configFile);
  const bookmark = (path: string): Promise<OpenBookmark> =>
    openBookmark(
      path,
      { cluster, auditor: config.name },
      at(config.identityFile ?? "identity.json"),
    );
  if (exportDir !== undefined) {
    const source = exportedHistory(exportDir);
    return { source, cluster, bookmark, close: () => Promise.resolve() };
  }
  if (server !== undefined) {
    const scratch = await connectScratch(server);
    return { source: liveHistory(scratch), cluster, bookmark, close: () => scratch.close() };
  }
  const connection = await connectMember({ config, cluster, at }, log);
  const source = liveHistory(connection);
  return { source, cluster, bookmark, close: () => connection.close() };
}

/** The streams themselves, for as long as somebody looks at them. */
export interface LiveStreams {
  readonly connection: NatsConnection;
  readonly cluster: Cluster;
}

/** @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`, `ERR_BROKER_UNREACHABLE` */
export async function openLive(configFile: string): Promise<LiveStreams> {
  const auditor = await readAuditor(configFile);
  const connection = await connectMember(auditor, silentLogger);
  return { connection, cluster: auditor.cluster };
}

/** A server without members and permissions, for study. @throws HsmError `ERR_BROKER_UNREACHABLE` */
export async function connectScratch(server: string): Promise<NatsConnection> {
  try {
    return await connect({ servers: server, timeout: connectMs, reconnect: false });
  } catch (cause) {
    const text = `cannot connect to ${server}: ${describeError(cause)}`;
    throw new HsmError("ERR_BROKER_UNREACHABLE", text, { cause });
  }
}

async function openBookmark(
  path: string,
  owner: Bookkeeper,
  identityFile: string,
): Promise<OpenBookmark> {
  // Opened first: an audit of hours must not end in "no identity".
  const key = (await readIdentityFile(identityFile)).openUnprotected();
  let remembered: Mark | undefined;
  return {
    mark: await readBookmark(path, owner),
    remember: (mark) => (remembered = mark),
    save: async () => {
      if (remembered !== undefined) await writeBookmark(path, remembered, owner, key);
    },
  };
}

async function readAuditor(path: string): Promise<MemberFile> {
  let config;
  try {
    config = validated(AuditorConfig, parse(await readFile(path, "utf8")), "ERR_INVALID_CONFIG");
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${describeError(cause)}`, { cause });
  }
  const at = (name: string): string => resolve(dirname(path), name);
  return { config, cluster: await readCluster(at(config.cluster)), at };
}
