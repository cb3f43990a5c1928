/** @module The private half of one member or server, in a directory of its own host. */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { createIdentityFile, type Protection } from "../identity/identity-file.js";
import { writeSecretFile } from "../identity/secret-file.js";
import { checkedPart, isMemberRole, type PartRole, type PublicPart } from "./public-part.js";
import { createTlsKey } from "./tls.js";

export interface MemberPlan {
  readonly dir: string;
  readonly role: PartRole;
  readonly name: string;
  /** A client's. */
  readonly protection?: Protection | undefined;
  /** A server's. */
  readonly hosts?: readonly string[] | undefined;
  readonly tls: boolean;
}

/**
 * Makes all keys of one participant in `dir`. What is returned is all that others need of it.
 * Every key has one use: identity, login to NATS and TLS are three.
 */
export async function createMember(plan: MemberPlan): Promise<PublicPart> {
  const { dir, role, name, protection, hosts, tls } = plan;
  const at = (...parts: string[]): string => join(dir, ...parts);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const isServer = role === "server";
  const identity = isMemberRole(role)
    ? (await createIdentityFile(at("identity.json"), name, protection)).text
    : undefined;
  const login = isServer ? undefined : await createLogin(at("login.nk"));
  const archiver = role === "auditor" ? await createLogin(at("archiver.nk")) : undefined;
  const request = async (file: string): Promise<string | undefined> =>
    tls ? await createKeyFile(file, name) : undefined;
  const tlsRequest = await request(isServer ? at("tls", "server.key") : at("key.pem"));
  const routeRequest = isServer ? await request(at("tls", "route.key")) : undefined;
  const part = { role, name, identity, login, archiver, hosts, tlsRequest, routeRequest };
  return checkedPart(
    Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined)),
  );
}

/** Makes an NKey, writes its seed, returns its public half. */
async function createLogin(file: string): Promise<string> {
  const pair = createUser();
  const publicKey = pair.getPublicKey();
  await writeSecretFile(file, pair.getSeed());
  pair.clear();
  return publicKey;
}

async function createKeyFile(file: string, name: string): Promise<string> {
  const { key, request } = createTlsKey(name);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeSecretFile(file, key);
  return request;
}
