/**
 * @module cluster.toml: who is who. The only source of public keys; whatever is signed by another
 * key is nobody's. Contains no secret and is the same on every machine of a cluster.
 */
import { dirname, resolve } from "node:path";
import { readFile } from "node:fs/promises";
import {
  ArrayMaxSize,
  ArrayMinSize,
  Equals,
  IsArray,
  IsOptional,
  IsString,
  Matches,
  MaxLength,
} from "class-validator";
import { parse } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { validated } from "../validate.js";
import { fromBase64url, toBase64url } from "./encoding.js";
import { IdentityPublicKey } from "./identity-key.js";
import { isLoopback, memberName, nkeyBytes, userNKey } from "./names.js";

export const roles = ["node", "client", "operator", "auditor"] as const;
export type Role = (typeof roles)[number];

/** Somebody who signs messages, or at least logs in. */
export interface Member {
  readonly role: Role;
  readonly name: string;
  readonly identity: IdentityPublicKey;
  /** Public NKey of its NATS login. */
  readonly login: string;
}

/** A namespace of keys, and the clients that may use it. */
export interface Token {
  readonly name: string;
  readonly clients: readonly string[];
}

class ClusterFile {
  @Equals(1) readonly version!: number;
  @Matches(memberName) readonly name!: string;
  @IsArray()
  @ArrayMinSize(1)
  @Matches(/^(nats|tls):\/\/[^\s/@]+$/, {
    each: true,
    message: "servers must be addresses like nats://host:4222 or tls://host:4222",
  })
  readonly servers!: string[];
  /** PEM file of the CA of the NATS servers, relative to cluster.toml. */
  @IsOptional() @IsString() readonly tlsCa?: string;
  @IsArray() @ArrayMinSize(2) @ArrayMaxSize(32) readonly node!: object[];
  @IsArray() @ArrayMinSize(1) readonly client!: object[];
  @IsArray() @ArrayMinSize(1) readonly token!: object[];
  @IsOptional() @IsArray() readonly operator?: object[];
  @IsOptional() @IsArray() readonly auditor?: object[];
}

class MemberEntry {
  @Matches(memberName) readonly name!: string;
  @Matches(/^[A-Za-z0-9_-]{43}$/) readonly identity!: string;
  @Matches(userNKey) readonly login!: string;
}

class TokenEntry {
  // PKCS#11 pads labels to 32 bytes.
  @Matches(memberName) @MaxLength(32) readonly name!: string;
  @IsArray() @Matches(memberName, { each: true }) readonly clients!: string[];
}

/** The members of a cluster, by name and by key. */
export class Cluster {
  readonly name: string;
  readonly servers: readonly string[];
  /** Absolute path of the CA file of the NATS servers, if they speak TLS. */
  readonly tlsCa: string | undefined;
  readonly members: readonly Member[];
  readonly tokens: readonly Token[];
  readonly #byKeyId = new Map<string, Member>();

  /** @throws HsmError `ERR_INVALID_CONFIG` when a name or a key occurs twice. */
  constructor(file: ClusterFile, directory: string) {
    this.name = file.name;
    this.servers = file.servers;
    for (const server of file.servers) requireEncryption(server);
    this.tlsCa = file.tlsCa === undefined ? undefined : resolve(directory, file.tlsCa);
    this.members = roles.flatMap((role) =>
      (file[role] ?? []).map((entry, index) =>
        at(`${role} ${index + 1}`, () => member(role, entry)),
      ),
    );
    this.tokens = file.token.map((entry, index) =>
      at(`token ${index + 1}`, () => validated(TokenEntry, entry, "ERR_INVALID_CONFIG")),
    );
    // Across roles: a name is also a member's private inbox on the bus.
    requireDistinct(this.members.map(({ name }) => `member name ${name}`));
    requireDistinct(this.members.map(({ login }) => `login ${login}`));
    requireDistinct(this.tokens.map(({ name }) => `token ${name}`));
    for (const one of this.members) {
      if (this.#byKeyId.has(one.identity.keyId)) {
        throw new HsmError("ERR_INVALID_CONFIG", `${one.role} ${one.name}: identity used twice`);
      }
      this.#byKeyId.set(one.identity.keyId, one);
    }
    const identities = new Set(this.members.map(({ identity }) => identity.text));
    for (const { role, name, login } of this.members) {
      // Whoever runs the NATS server chooses what a login signs: then it could choose messages.
      if (identities.has(toBase64url(nkeyBytes(login)))) {
        throw new HsmError("ERR_INVALID_CONFIG", `${role} ${name}: its login is an identity key`);
      }
    }
    for (const { name, clients } of this.tokens) {
      for (const client of clients) {
        if (this.find("client", client) === undefined) {
          throw new HsmError("ERR_INVALID_CONFIG", `token ${name}: no client is named ${client}`);
        }
      }
    }
  }

  /**
   * A member's files for TLS; undefined when the servers, on loopback addresses, speak none.
   * @throws HsmError `ERR_INVALID_CONFIG` when one of them is missing that is needed
   */
  tlsOf(own: {
    readonly tlsCert?: string | undefined;
    readonly tlsKey?: string | undefined;
  }): { caFile: string; certFile: string; keyFile: string } | undefined {
    const isEncrypted = this.servers.some((server) => server.startsWith("tls:"));
    const isWanted = isEncrypted || this.tlsCa !== undefined || own.tlsCert !== undefined;
    if (!isWanted) return undefined;
    const { tlsCert: certFile, tlsKey: keyFile } = own;
    if (this.tlsCa !== undefined && certFile !== undefined && keyFile !== undefined) {
      return { caFile: this.tlsCa, certFile, keyFile };
    }
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      "the NATS servers speak TLS and ask for a certificate: set tlsCa in cluster.toml, tlsCert and tlsKey beside loginFile",
    );
  }

  find(role: Role, name: string): Member | undefined {
    return this.members.find((one) => one.role === role && one.name === name);
  }

  byKeyId(keyId: string): Member | undefined {
    return this.#byKeyId.get(keyId);
  }

  /** Nodes in the order of the file: the parties that a new key is dealt to. */
  get nodes(): readonly Member[] {
    return this.members.filter((one) => one.role === "node");
  }

  tokensOf(client: string): readonly Token[] {
    return this.tokens.filter(({ clients }) => clients.includes(client));
  }

  /** Whether a client may use the keys of a token: the one rule for nodes, clients and auditors. */
  mayUse(client: string, token: string): boolean {
    return this.tokensOf(client).some(({ name }) => name === token);
  }
}

/** @throws HsmError `ERR_INVALID_CONFIG` naming the file and what is wrong in it. */
export async function readCluster(path: string): Promise<Cluster> {
  try {
    const file = validated(ClusterFile, parse(await readFile(path, "utf8")), "ERR_INVALID_CONFIG");
    return new Cluster(file, dirname(path));
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${path}: ${sentence(cause)}`, { cause });
  }
}

/** What goes over a network is encrypted, to a server that shows who it is. */
function requireEncryption(server: string): void {
  const { protocol, hostname } = new URL(server);
  if (protocol === "tls:" || isLoopback(hostname)) return;
  throw new HsmError(
    "ERR_INVALID_CONFIG",
    `servers: ${server} is not a loopback address, so it must be tls://`,
  );
}

/** Says which of many entries is wrong. */
function at<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new HsmError("ERR_INVALID_CONFIG", `${place}: ${sentence(cause)}`, { cause });
  }
}

function sentence(error: unknown): string {
  return error instanceof HsmError ? error.message : describeError(error);
}

function member(role: Role, entry: object): Member {
  const { name, identity, login } = validated(MemberEntry, entry, "ERR_INVALID_CONFIG");
  return {
    role,
    name,
    login,
    identity: new IdentityPublicKey(fromBase64url(identity, "identity")),
  };
}

function requireDistinct(names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new HsmError("ERR_INVALID_CONFIG", `${twice} occurs twice`);
}
