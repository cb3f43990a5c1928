/** @module node.toml: where a node finds its identity, its cluster and its data. Holds no secret. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Equals, IsIn, IsInt, IsNotEmpty, IsOptional, IsString, Matches } from "class-validator";
import { Max, Min } from "class-validator";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { memberName } from "../identity/names.js";
import { logLevels, type LogLevel } from "../log.js";
import { validated } from "../validate.js";

class NodeFile {
  @Equals(1) readonly version!: number;
  /** As in cluster.toml. */
  @Matches(memberName) readonly name!: string;
  /** Paths are relative to this file. */
  @IsString() @IsNotEmpty() readonly cluster!: string;
  @IsString() @IsNotEmpty() readonly identityFile!: string;
  /** NKey seed of the login to NATS. */
  @IsString() @IsNotEmpty() readonly loginFile!: string;
  /** Journal, key shares and the secret that encrypts them. Created when missing. */
  @IsString() @IsNotEmpty() readonly dataDir!: string;
  /** Threads that compute signature shares. */
  @IsInt() @Min(1) @Max(64) readonly workers: number = 1;
  /** Certificate and key for NATS servers that speak TLS. */
  @IsOptional() @IsString() @IsNotEmpty() readonly tlsCert?: string;
  @IsOptional() @IsString() @IsNotEmpty() readonly tlsKey?: string;
  @IsIn(logLevels) readonly logLevel: LogLevel = "info";
  /** How far the clocks of the cluster's machines may be apart. */
  @IsInt() @Min(0) @Max(600_000) readonly clockToleranceMs: number = 30_000;
  /** Requests that expire later than this from now are refused. */
  @IsInt() @Min(1000) @Max(600_000) readonly maxRequestLifetimeMs: number = 120_000;
  /** How often to sign a checkpoint, if there were requests. The same on all nodes. */
  @IsInt() @Min(1) @Max(86_400) readonly checkpointSeconds: number = 60;
}

/** A node's configuration with absolute paths. */
export interface NodeConfig {
  readonly name: string;
  readonly cluster: string;
  readonly identityFile: string;
  readonly loginFile: string;
  readonly dataDir: string;
  readonly workers: number;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly logLevel: LogLevel;
  readonly clockToleranceMs: number;
  readonly maxRequestLifetimeMs: number;
  readonly checkpointSeconds: number;
}

/** @throws HsmError `ERR_INVALID_CONFIG` naming the file and what is wrong in it. */
export async function readNodeConfig(path: string): Promise<NodeConfig> {
  try {
    const file = validated(NodeFile, parse(await readFile(path, "utf8")), "ERR_INVALID_CONFIG");
    const absolute = (relative: string): string => resolve(dirname(path), relative);
    const { tlsCert, tlsKey } = file;
    if ((tlsCert === undefined) !== (tlsKey === undefined)) {
      throw new HsmError("ERR_INVALID_CONFIG", "tlsCert and tlsKey go together");
    }
    return {
      name: file.name,
      cluster: absolute(file.cluster),
      identityFile: absolute(file.identityFile),
      loginFile: absolute(file.loginFile),
      dataDir: absolute(file.dataDir),
      workers: file.workers,
      tls:
        tlsCert === undefined || tlsKey === undefined
          ? undefined
          : { certFile: absolute(tlsCert), keyFile: absolute(tlsKey) },
      logLevel: file.logLevel,
      clockToleranceMs: file.clockToleranceMs,
      maxRequestLifetimeMs: file.maxRequestLifetimeMs,
      checkpointSeconds: file.checkpointSeconds,
    };
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${describeError(cause)}`, { cause });
  }
}
