/**
 * @module What one member or server shows of itself, NAME.public.toml: made on its own host by
 * `thsm identity create`, put together by `thsm cluster create`. Holds no secret.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import {
  ArrayMinSize,
  Equals,
  IsArray,
  IsIn,
  IsOptional,
  IsString,
  Matches,
} from "class-validator";
import { parse, stringify } from "smol-toml";
import { describeError, HsmError } from "../errors.js";
import { roles, type Role } from "../identity/cluster.js";
import { memberName, userNKey } from "../identity/names.js";
import { validated } from "../validate.js";

/** The roles of cluster.toml, and who has a place on the bus without speaking for itself. */
export const partRoles: readonly [
  "node",
  "client",
  "operator",
  "auditor",
  "provisioner",
  "server",
] = [...roles, "provisioner", "server"];
export type PartRole = (typeof partRoles)[number];

export function isMemberRole(role: PartRole): role is Role {
  return role !== "provisioner" && role !== "server";
}

const host = /^[A-Za-z0-9:.-]{1,253}$/;

export class PublicPart {
  @Equals(1) readonly version: number = 1;
  @IsIn(partRoles) readonly role!: PartRole;
  @Matches(memberName) readonly name!: string;
  /** Identity key; of those with a role in cluster.toml. */
  @IsOptional() @Matches(/^[A-Za-z0-9_-]{43}$/) readonly identity?: string;
  /** Public NKey; of all but servers. */
  @IsOptional() @Matches(userNKey) readonly login?: string;
  /** Public NKey of the auditor's login to the account with the mirrors. */
  @IsOptional() @Matches(userNKey) readonly archiver?: string;
  /** Of a server: where others reach it; the first is its address in cluster.toml. */
  @IsOptional()
  @IsArray()
  @ArrayMinSize(1)
  @Matches(host, { each: true })
  readonly hosts?: string[];
  /** PKCS#10, PEM; absent without TLS. */
  @IsOptional() @IsString() readonly tlsRequest?: string;
  /** Of a server: for its connections to other servers. */
  @IsOptional() @IsString() readonly routeRequest?: string;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` naming what is missing for the role */
export function checkedPart(plain: object): PublicPart {
  const part = validated(PublicPart, plain, "ERR_INVALID_ARGUMENT");
  const { role, name, identity, login, hosts } = part;
  const missing =
    (isMemberRole(role) && identity === undefined && "identity") ||
    (role !== "server" && login === undefined && "login") ||
    (role === "server" && hosts === undefined && "hosts");
  if (missing !== false) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `${role} ${name}: ${missing} is missing`);
  }
  return part;
}

export function renderPart(part: PublicPart): string {
  const { role, name } = part;
  return `# ${role} ${name} of a Threshold HSM cluster: public, for thsm cluster create\n${stringify(part)}`;
}

/** For two people to compare over the telephone: SHA-256 of the part's text, in groups. */
export function fingerprintOf(part: PublicPart): string {
  const hex = createHash("sha256").update(renderPart(part)).digest("hex");
  return (hex.slice(0, 32).match(/.{4}/g) ?? []).join(" ");
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` naming the file */
export async function readPart(path: string): Promise<PublicPart> {
  try {
    return checkedPart(parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `${path}: ${describeError(cause)}`, { cause });
  }
}
