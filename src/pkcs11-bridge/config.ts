/** @module The daemon's configuration file. */
import { readFile } from "node:fs/promises";
import {
  IsArray,
  ValidateIf,
  Equals,
  IsBoolean,
  IsIn,
  IsInt,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
} from "class-validator";
import { parse } from "smol-toml";
import { HsmError } from "../errors.js";
import { logLevels, type LogLevel } from "../log.js";
import { validated } from "../validate.js";

/** thsm-pkcs11d.toml. */
export class DaemonConfig {
  @Equals(1)
  readonly version: number = 0;

  /** The client's configuration file; relative to the directory of this file. */
  @IsString()
  @MinLength(1)
  readonly client: string = "";

  /** Where modules connect; an absolute path, as in their own configuration. */
  @Matches(/^\//, { message: "socket must be an absolute path" })
  @MaxLength(107)
  readonly socket: string = "";

  /** Permissions of the socket, octal: "0600" for one user, "0660" for a group. */
  @Matches(/^0?[0-7]{3}$/, { message: 'socketMode must be octal digits in quotes, as in "0660"' })
  readonly socketMode: string = "0600";

  /**
   * Users beside the daemon's own and root that may connect, by name or number; "modes": whoever the
   * socket's permissions let in. The socket's group may when `socketMode` says so.
   */
  @ValidateIf(({ peers }: DaemonConfig) => peers !== "modes")
  @IsArray()
  @Matches(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, { each: true })
  readonly peers: "modes" | readonly string[] = [];

  @IsIn(logLevels)
  readonly logLevel: LogLevel = "info";

  /** All applications together. A module uses one connection for each thread that signs. */
  @IsInt()
  @Min(1)
  @Max(4096)
  readonly maxConnections: number = 512;

  /** More threads of one program than this that sign at once wait for each other. */
  @IsInt()
  @Min(1)
  @Max(4096)
  readonly maxConnectionsPerApplication: number = 128;

  /** All programs of one user of this host: the kernel says which, not the program. */
  @IsInt()
  @Min(1)
  @Max(4096)
  readonly maxConnectionsPerUser: number = 256;

  /** Calls of one program at a time; what is beyond waits in the daemon. */
  @IsInt()
  @Min(1)
  @Max(4096)
  readonly maxCallsPerApplication: number = 64;

  /** Calls of all programs of one user at a time. */
  @IsInt()
  @Min(1)
  @Max(4096)
  readonly maxCallsPerUser: number = 128;

  /**
   * Keys that programs generate may sign SHA-1 digests too. For programs that test an HSM with
   * SHA-1 (ods-hsmspeed, ods-hsmutil test), and nothing else.
   */
  @IsBoolean()
  readonly allowSha1: boolean = false;
}

/** @throws HsmError `ERR_INVALID_CONFIG`, with file and fields named. */
export async function readConfig(path: string): Promise<DaemonConfig> {
  try {
    const plain: unknown = parse(await readFile(path, "utf8"));
    return validated(DaemonConfig, plain, "ERR_INVALID_CONFIG");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${reason}`, { cause });
  }
}
