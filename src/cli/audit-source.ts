/** @module Where a command of `thsm audit` reads its history, and what of it is asked for. */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import type { Command } from "commander";
import {
  openHistory,
  type AuditScope,
  type OpenHistory,
  type VerifyProgress,
} from "../client/index.js";
import { HsmError } from "../errors.js";
import { readCluster, type Cluster } from "../identity/cluster.js";
import { say } from "./context.js";
import { auditorConfigOf, startNats } from "./dev/cluster.js";
import { Processes } from "./dev/processes.js";
import type { Progress } from "./progress.js";

export interface SourceFlags {
  readonly auditor?: string;
  readonly dir?: string;
  readonly offline?: string;
  readonly server?: string;
  readonly with?: readonly string[];
}

export interface ScopeFlags {
  readonly since?: string;
  readonly until?: string;
  readonly session?: string;
  readonly key?: string;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` */
export function scopeOf({ since, until, session, key }: ScopeFlags): AuditScope {
  return {
    ...(since === undefined ? {} : { sinceMs: timeOf(since) }),
    ...(until === undefined ? {} : { untilMs: timeOf(until) }),
    ...(session === undefined ? {} : { session }),
    ...(key === undefined ? {} : { key }),
  };
}

function timeOf(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `${JSON.stringify(text)} is no time like 2026-03-01T12:00:00Z`,
    );
  }
  return ms;
}

export interface ArithmeticFlags {
  readonly jobs?: string;
}

/** Flags of what verifies many signatures. */
export function withArithmetic(command: Command): Command {
  return command.option("--jobs <n>", "threads for the arithmetic (default: one a processor)");
}

export interface RecombineFlags extends ArithmeticFlags {
  readonly recombine: boolean;
}

/** Flags of what verifies a whole history. */
export function withRecombination(command: Command): Command {
  return withArithmetic(command).option(
    "--no-recombine",
    "do not make the signatures again from their shares (faster)",
  );
}

/** How far an audit is, for the person who waits. */
export function tellVerified(progress: Progress): (at: VerifyProgress) => void {
  return ({ done, total }) => progress.update(`verified ${done} of ${total} messages`);
}

/** Threads: one a processor unless told. */
export function jobsOf(text: string | undefined): number {
  if (text === undefined) return availableParallelism();
  const jobs = Number(text);
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= 256) return jobs;
  throw new HsmError("ERR_INVALID_ARGUMENT", `--jobs takes a number from 1 to 256, not ${text}`);
}

/** Flags that say what of the history is asked for. */
export function withScope(command: Command): Command {
  return command
    .option("--since <time>", "tell of what was signed from then on, like 2026-03-01T12:00:00Z")
    .option("--until <time>", "tell of what was signed until then")
    .option("--session <id>", "tell of this session only")
    .option("--key <id>", "tell of this key only");
}

/** Who is who, for what needs no history: cluster.toml as named, or the auditor's. */
export async function clusterOf(file: string | undefined): Promise<Cluster> {
  const beside = process.env["THSM_AUDITOR_CONFIG"];
  const path = file ?? (beside === undefined ? undefined : resolve(beside, "../cluster.toml"));
  if (path === undefined) {
    throw new HsmError("ERR_INVALID_CONFIG", "say who is who: --cluster cluster.toml");
  }
  return await readCluster(path);
}

/** Flags that say where the history is. */
export function withSource(command: Command): Command {
  return command
    .option("--auditor <file>", "auditor.toml (default: $THSM_AUDITOR_CONFIG)")
    .option("--dir <dir>", "a development cluster's directory, running or stopped")
    .option("--offline <dir>", "an exported history instead of the cluster's streams")
    .option("--server <url>", "a scratch server that `thsm audit replay` filled, instead")
    .option("--with <dir...>", "exports from before rotations, oldest first, as well");
}

/** @throws HsmError `ERR_INVALID_CONFIG` when neither flags nor environment say */
export function whose(flags: Pick<SourceFlags, "auditor" | "dir">): {
  readonly configFile: string;
  readonly dir: string | undefined;
} {
  const dir = flags.dir ?? (flags.auditor === undefined ? process.env["THSM_DIR"] : undefined);
  const configFile =
    flags.auditor ??
    (dir === undefined ? process.env["THSM_AUDITOR_CONFIG"] : auditorConfigOf(dir));
  if (configFile === undefined) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      "say whose history: --auditor auditor.toml, or --dir of a development cluster",
    );
  }
  return { configFile, dir };
}

/** Opens the history that the flags name; for a stopped development cluster starts its NATS. */
export async function withHistory(
  flags: SourceFlags,
  action: (history: OpenHistory) => Promise<void>,
): Promise<void> {
  const { dir, configFile } = whose(flags);
  const processes = dir === undefined ? undefined : new Processes(resolve(dir));
  let isStarted = false;
  try {
    if (
      dir !== undefined &&
      processes !== undefined &&
      flags.offline === undefined &&
      flags.server === undefined
    ) {
      const cluster = await readCluster(resolve(configFile, "../cluster.toml"));
      isStarted = await startNats(resolve(dir), cluster, processes);
      if (isStarted) say("the cluster is down: its NATS runs for the time of this audit");
    }
    const history = await openHistory({
      configFile,
      ...(flags.offline === undefined ? {} : { exportDir: flags.offline }),
      ...(flags.server === undefined ? {} : { server: flags.server }),
      ...(flags.with === undefined ? {} : { with: flags.with }),
    });
    try {
      await action(history);
    } finally {
      await history.close();
    }
  } finally {
    if (isStarted) await processes?.stop("nats");
  }
}
