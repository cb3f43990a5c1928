/**
 * @module A connection of any member, by its own configuration file: for those who watch, and for the
 * operator's word.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Equals, IsOptional, IsString, Matches } from "class-validator";
import type { NatsConnection } from "nats";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { readCluster, type Cluster, type Role } from "../identity/cluster.js";
import { memberName } from "../identity/names.js";
import { silentLogger, type Logger } from "../log.js";
import { validated } from "../validate.js";
import { connectBus } from "../streams/connection.js";

/** What client.toml, operator.toml and auditor.toml have in common. */
export class MemberConfig {
  @Equals(1) readonly version!: number;
  @Matches(memberName) readonly name!: string;
  @IsString() readonly cluster!: string;
  @IsString() readonly loginFile!: string;
  @IsOptional() @IsString() readonly identityFile?: string;
  @IsOptional() @IsString() readonly tlsCert?: string;
  @IsOptional() @IsString() readonly tlsKey?: string;
}

const fields = ["version", "name", "cluster", "loginFile", "identityFile", "tlsCert", "tlsKey"];
const connectMs = 10_000;

export interface OpenMember {
  readonly name: string;
  readonly role: Role;
  readonly cluster: Cluster;
  readonly connection: NatsConnection;
  /** Absolute. */
  readonly identityFile: string | undefined;
}

/**
 * Logs in as the member whose file this is. The caller closes the connection.
 * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`, `ERR_BROKER_UNREACHABLE`
 */
export async function openMember(configFile: string): Promise<OpenMember> {
  const { config, cluster, role } = await readMember(configFile);
  const at = (path: string): string => resolve(dirname(configFile), path);
  const { name, identityFile } = config;
  const connection = await connectMember({ config, cluster, at }, silentLogger);
  return {
    name,
    role,
    cluster,
    connection,
    identityFile: identityFile === undefined ? undefined : at(identityFile),
  };
}

/** A member's configuration, read. */
export interface MemberFile {
  readonly config: MemberConfig;
  readonly cluster: Cluster;
  /** A path that the file names. */
  readonly at: (path: string) => string;
}

/** @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`, `ERR_BROKER_UNREACHABLE` */
export function connectMember(
  { config, cluster, at }: MemberFile,
  log: Logger,
): Promise<NatsConnection> {
  const { name, loginFile, tlsCert, tlsKey } = config;
  return connectBus({
    servers: cluster.servers,
    name,
    loginFile: at(loginFile),
    tls: cluster.tlsOf({ tlsCert: tlsCert && at(tlsCert), tlsKey: tlsKey && at(tlsKey) }),
    log,
    timeoutMs: connectMs,
  });
}

async function readMember(
  path: string,
): Promise<{ config: MemberConfig; cluster: Cluster; role: Role }> {
  try {
    const all = Object.entries(parse(await readFile(path, "utf8")));
    // The others are the business of the program that the file is for.
    const known = Object.fromEntries(all.filter(([field]) => fields.includes(field)));
    const config = validated(MemberConfig, known, "ERR_INVALID_CONFIG");
    const cluster = await readCluster(resolve(dirname(path), config.cluster));
    const member = cluster.members.find(({ name }) => name === config.name);
    if (member === undefined) {
      throw new HsmError("ERR_INVALID_CONFIG", `cluster.toml has no member ${config.name}`);
    }
    return { config, cluster, role: member.role };
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${describeError(cause)}`, { cause });
  }
}
