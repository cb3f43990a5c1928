/**
 * @module A whole cluster's files in one directory, for `thsm dev` and `thsm init`: every
 * participant gets a folder of its own with all it needs and nothing of the others' secrets.
 * Paths in a file are relative to it, but for those that name a place on the participant's machine.
 */
import { randomInt } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { stringify } from "smol-toml";
import { HsmError } from "../errors.js";
import { createIdentityFile } from "../identity/identity-file.js";
import { writeSecretFile } from "../identity/secret-file.js";
import {
  isLoopback,
  renderNatsConfig,
  type NatsConfigInput,
  type NatsUser,
  type TlsFiles,
} from "./nats-config.js";
import { provisioner } from "./nats-permissions.js";
import { createTls, type Certificate, type TlsCertificates } from "./tls.js";

/** The folders below a cluster's directory. */
export interface ClusterFolders {
  /** By the server's name: `nats`, or `nats-1`, `nats-2` and so on. */
  nats(server: string): string;
  node(name: string): string;
  readonly client: string;
  readonly operator: string;
  readonly auditor: string;
  readonly provisioner: string;
  /** The CAs' private keys, when there is TLS. */
  readonly ca: string;
}

export interface ClusterPlan {
  /** Exists and is empty. */
  readonly dir: string;
  readonly folders: ClusterFolders;
  readonly name: string;
  /** How many nodes, named n1, n2, … */
  readonly parties: number;
  readonly threshold: number;
  readonly token: string;
  /** Where members find the NATS servers: one host, or one for each server of a NATS cluster. */
  readonly hosts: readonly string[];
  readonly port: number;
  /** Where a NATS server finds its folder and keeps its streams, on its machine. */
  readonly natsDir: string;
  readonly natsStoreDir: string;
  /** Bytes on disk that the streams may take on each server; absent: the renderer's default. */
  readonly natsBytes?: number;
  /** HTTP monitoring, on the server's loopback address. */
  readonly monitorPort?: number;
  /** fsync before each acknowledgement; needs nats-server 2.10. */
  readonly syncAlways?: boolean;
  /** Where nodes keep their data, on their machine or relative to their folder. */
  readonly dataDir: string;
  /** The daemon's socket, an absolute path. */
  readonly socket: string;
  /** File with the PIN as the client sees it, so that the command line need not ask. */
  readonly pinSource?: string;
  /** With TLS and certificates for everybody; needed unless all hosts are loopback addresses. */
  readonly tls: boolean;
}

interface Made {
  readonly name: string;
  readonly identity: string;
  readonly login: string;
}

function user({ name, login: nkey }: Made): NatsUser {
  return { name, nkey };
}

const clientName = "c1";
const operatorName = "op";
const auditorName = "auditor";
const archiverName = "archiver";
const routePort = 6222;

/**
 * Makes `dir` and has `fill` write into it. Nothing is left behind when that fails: half a cluster
 * would be taken for a whole one the next time.
 * @throws HsmError `ERR_INVALID_ARGUMENT` when `dir` holds something already
 */
export async function fillDirectory(dir: string, fill: () => Promise<void>): Promise<void> {
  const made = await mkdir(dir, { recursive: true, mode: 0o700 });
  if ((await readdir(dir)).length > 0) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `${dir} is not empty: name a new directory`);
  }
  try {
    await fill();
  } catch (error) {
    for (const entry of await readdir(dir)) await rm(join(dir, entry), { recursive: true });
    if (made !== undefined) await rm(made, { recursive: true });
    throw error;
  }
}

/** Writes all files but the PIN's; returns the PIN, which is nowhere else. */
export async function createClusterFiles(plan: ClusterPlan): Promise<string> {
  const { folders } = plan;
  const at = (...parts: string[]): string => join(plan.dir, ...parts);
  const pin = String(randomInt(10_000_000, 100_000_000));
  const names = Array.from({ length: plan.parties }, (_, index) => `n${index + 1}`);

  const nodes = await Promise.all(names.map((name) => createMember(at(folders.node(name)), name)));
  const client = await createMember(at(folders.client), clientName, pin);
  const operator = await createMember(at(folders.operator), operatorName);
  const auditor = await createMember(at(folders.auditor), auditorName);
  const provisionerLogin = await createLogin(at(folders.provisioner, "login.nk"));
  const archiverLogin = await createLogin(at(folders.auditor, "archiver.nk"));

  const memberFolders = new Map([
    ...names.map((name) => [name, at(folders.node(name))] as const),
    [clientName, at(folders.client)],
    [operatorName, at(folders.operator)],
    [auditorName, at(folders.auditor)],
    [provisioner, at(folders.provisioner)],
  ]);
  const servers = serverNames(plan);
  for (const server of servers)
    await mkdir(at(folders.nats(server)), { recursive: true, mode: 0o700 });
  if (plan.tls) await writeCertificates(plan, memberFolders);

  const clusterText = stringify({
    version: 1,
    name: plan.name,
    servers: plan.hosts.map((host) => `${plan.tls ? "tls" : "nats"}://${host}:${plan.port}`),
    ...(plan.tls ? { tlsCa: "ca.pem" } : {}),
    node: nodes,
    client: [client],
    operator: [operator],
    auditor: [auditor],
    token: [{ name: plan.token, clients: [clientName] }],
  });
  for (const folder of memberFolders.values()) {
    await writeFile(join(folder, "cluster.toml"), clusterText);
  }

  const login = {
    version: 1,
    cluster: "cluster.toml",
    loginFile: "login.nk",
    ...(plan.tls ? { tlsCert: "cert.pem", tlsKey: "key.pem" } : {}),
  };
  const member = { ...login, identityFile: "identity.json" };
  const configs: [string, string, object][] = [
    ...names.map((name): [string, string, object] => [
      folders.node(name),
      "node.toml",
      { ...member, name, dataDir: plan.dataDir },
    ]),
    [
      folders.client,
      "client.toml",
      {
        ...member,
        name: clientName,
        threshold: plan.threshold,
        ...(plan.pinSource === undefined ? {} : { pinSource: plan.pinSource }),
      },
    ],
    [folders.client, "pkcs11d.toml", { version: 1, client: "client.toml", socket: plan.socket }],
    [folders.auditor, "auditor.toml", { ...login, name: auditorName }],
    [folders.provisioner, "provisioner.toml", login],
  ];
  for (const [folder, file, config] of configs) {
    await writeFile(at(folder, file), stringify(config));
  }

  const everywhere = {
    nodes: nodes.map(user),
    clients: [user(client)],
    operators: [user(operator)],
    auditors: [user(auditor)],
    provisioner: provisionerLogin,
    archivers: [{ name: archiverName, nkey: archiverLogin }],
  };
  for (const [index, server] of servers.entries()) {
    const config = renderNatsConfig({ ...natsServer(plan, index), ...everywhere });
    await writeFile(at(folders.nats(server), "server.conf"), config);
  }
  return pin;
}

/** pkcs11.conf: where the PKCS#11 module finds the daemon. */
export function moduleConfig(socket: string, token: string): string {
  return `# Threshold HSM's PKCS#11 module\nsocket = ${socket}\ntoken = ${token}\n`;
}

/** `nats` when there is one server. */
function serverNames({ hosts }: ClusterPlan): string[] {
  return hosts.length === 1 ? ["nats"] : hosts.map((_, index) => `nats-${index + 1}`);
}

function natsServer(
  plan: ClusterPlan,
  index: number,
): Pick<NatsConfigInput, "serverName" | "host" | "port" | "storeDir"> & Partial<NatsConfigInput> {
  const { hosts, port, natsDir, natsStoreDir, natsBytes, monitorPort, syncAlways } = plan;
  const host = hosts[index] ?? "";
  const listen = isLoopback(host) ? host : "0.0.0.0";
  const tlsFiles = (name: string, ca: string): { tls: TlsFiles } | undefined =>
    plan.tls
      ? {
          tls: {
            cert: join(natsDir, "tls", `${name}.crt`),
            key: join(natsDir, "tls", `${name}.key`),
            ca: join(natsDir, "tls", `${ca}.crt`),
          },
        }
      : undefined;
  return {
    serverName: serverNames(plan)[index] ?? "",
    host: listen,
    port,
    storeDir: natsStoreDir,
    ...(natsBytes === undefined ? {} : { maxBytes: natsBytes }),
    ...(monitorPort === undefined ? {} : { monitorPort }),
    ...(syncAlways === undefined ? {} : { syncAlways }),
    ...tlsFiles("server", "ca"),
    ...(hosts.length === 1
      ? {}
      : {
          cluster: {
            name: plan.name,
            host: listen,
            port: routePort,
            routes: hosts.filter((other) => other !== host).map((other) => `${other}:${routePort}`),
            ...tlsFiles("route", "route-ca"),
          },
        }),
  };
}

async function createMember(dir: string, name: string, pin?: string): Promise<Made> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const publicKey = await createIdentityFile(join(dir, "identity.json"), name, pin);
  const login = await createLogin(join(dir, "login.nk"));
  return { name, identity: publicKey.text, login };
}

/** Makes an NKey, writes its seed, returns its public half. */
async function createLogin(file: string): Promise<string> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const pair = createUser();
  const publicKey = pair.getPublicKey();
  await writeSecretFile(file, pair.getSeed());
  pair.clear();
  return publicKey;
}

async function writeCertificates(
  plan: ClusterPlan,
  memberFolders: ReadonlyMap<string, string>,
): Promise<void> {
  const names = serverNames(plan);
  const made = createTls({
    servers: Object.fromEntries(
      names.map((name, index) => [name, namesOf(plan.hosts[index] ?? "")]),
    ),
    members: [...memberFolders.keys()],
  });
  for (const [name, folder] of memberFolders) {
    await writeFile(join(folder, "ca.pem"), made.ca.cert);
    await writePair(join(folder, "cert.pem"), join(folder, "key.pem"), made.members[name]);
  }
  for (const name of names) {
    const folder = join(plan.dir, plan.folders.nats(name), "tls");
    await writeEnd(folder, "server", made.servers[name], "ca", made.ca);
    if (names.length > 1) {
      await writeEnd(folder, "route", made.routes[name], "route-ca", made.routeCa);
    }
  }
  await writeAuthorities(join(plan.dir, plan.folders.ca), made, names.length > 1);
}

/** nats.js 3.3 checks the certificate of a server that it knows by an address as that of localhost. */
function namesOf(host: string): string[] {
  return isIP(host) === 0 ? [host] : [host, "localhost"];
}

async function writeEnd(
  folder: string,
  name: string,
  own: Certificate | undefined,
  caName: string,
  ca: Certificate,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, `${caName}.crt`), ca.cert);
  await writePair(join(folder, `${name}.crt`), join(folder, `${name}.key`), own);
}

/** What signs further certificates, and those that follow when these end. */
async function writeAuthorities(
  folder: string,
  { ca, routeCa }: TlsCertificates,
  hasRoutes: boolean,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writePair(join(folder, "ca.crt"), join(folder, "ca.key"), ca);
  if (!hasRoutes) return;
  await writePair(join(folder, "route-ca.crt"), join(folder, "route-ca.key"), routeCa);
}

async function writePair(
  certFile: string,
  keyFile: string,
  own: Certificate | undefined,
): Promise<void> {
  if (own === undefined) throw new HsmError("ERR_INTERNAL", `no certificate for ${certFile}`);
  await writeFile(certFile, own.cert);
  await writeSecretFile(keyFile, own.key);
}
