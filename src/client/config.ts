/** @module client.toml: what a client needs to speak for itself. Secrets only by file path. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Equals, IsIn, IsInt, IsOptional, IsString, Matches, Max, Min } from "class-validator";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { memberName } from "../identity/names.js";
import { logLevels, type LogLevel } from "../log.js";
import { validated } from "../validate.js";

/** Paths are relative to the file until `readClientConfig` has made them absolute. */
export class ClientConfig {
  @Equals(1) readonly version!: number;
  /** The client's name in cluster.toml. */
  @Matches(memberName) readonly name!: string;
  @IsString() readonly cluster!: string;
  @IsString() readonly identityFile!: string;
  /** NKey seed that logs in to NATS. */
  @IsString() readonly loginFile!: string;
  /** Certificate and key for NATS servers that ask for one. */
  @IsOptional() @IsString() readonly tlsCert?: string;
  @IsOptional() @IsString() readonly tlsKey?: string;
  /** File with the PIN, for programs without a terminal. */
  @IsOptional() @IsString() readonly pinSource?: string;
  /** Where wrong PINs are counted; default `identityFile` with `.attempts` appended. Must be writable. */
  @IsOptional() @IsString() readonly pinAttemptsFile?: string;
  /** So many wrong PINs in a row lock the PIN. */
  @IsInt() @Min(3) @Max(1000) readonly pinAttemptsMax: number = 10;
  /** How long a signature may take, broker and node outages included. */
  @IsInt() @Min(100) @Max(110_000) readonly timeoutMs: number = 25_000;
  /** Parties and threshold of new keys; default all nodes, and a majority of them. */
  @IsOptional() @IsInt() @Min(2) @Max(32) readonly threshold?: number;
  /** How many nodes must hold a share before a new key is used; default all of them. */
  @IsOptional() @IsInt() @Min(2) @Max(32) readonly minimumAccepted?: number;
  /** How long nodes have to accept a new key; half as long again later its proposal expires. */
  @IsInt() @Min(1000) @Max(60_000) readonly enrollmentMs: number = 20_000;
  /** Requests that may be under way for one key at once, and most inputs in one. */
  @IsInt() @Min(1) @Max(64) readonly window: number = 4;
  @IsInt() @Min(1) @Max(64) readonly batch: number = 16;
  @IsIn(logLevels) readonly logLevel: LogLevel = "info";
}

/** @throws HsmError `ERR_INVALID_CONFIG` naming the file and what is wrong in it. */
export async function readClientConfig(path: string): Promise<ClientConfig> {
  try {
    const text = await readFile(path, "utf8");
    const config = validated(ClientConfig, parse(text), "ERR_INVALID_CONFIG");
    const at = dirname(path);
    const { tlsCert, tlsKey, pinSource, pinAttemptsFile } = config;
    return Object.assign(config, {
      cluster: resolve(at, config.cluster),
      identityFile: resolve(at, config.identityFile),
      loginFile: resolve(at, config.loginFile),
      ...(tlsCert === undefined ? {} : { tlsCert: resolve(at, tlsCert) }),
      ...(tlsKey === undefined ? {} : { tlsKey: resolve(at, tlsKey) }),
      ...(pinSource === undefined ? {} : { pinSource: resolve(at, pinSource) }),
      ...(pinAttemptsFile === undefined ? {} : { pinAttemptsFile: resolve(at, pinAttemptsFile) }),
    });
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${describeError(cause)}`, { cause });
  }
}
