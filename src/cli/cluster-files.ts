/**
 * @module A cluster's files out of the public halves of its members and servers, for `thsm cluster
 * create`; and for `thsm init` and `thsm dev`, which make the private halves in the same directory.
 * Paths in a file are relative to it, but for those that name a place on the participant's machine.
 */
import { randomInt } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { HsmError } from "../errors.js";
import { readCluster } from "../identity/cluster.js";
import type { Protection } from "../identity/identity-file.js";
import { isLoopback } from "../identity/names.js";
import { newRecoveryCode } from "../identity/recovery-code.js";
import { readSecretFile, writeSecretFile } from "../identity/secret-file.js";
import { createMember, type MemberPlan } from "./member-files.js";
import { renderNatsConfig, type NatsConfigInput, type TlsFiles } from "./nats-config.js";
import { provisioner } from "./nats-permissions.js";
import { type PartRole, type PublicPart } from "./public-part.js";
import { Authority } from "./tls.js";

/** The folder of each participant below a cluster's directory. */
export type FolderOf = (part: Pick<PublicPart, "role" | "name">) => string;

export interface ClusterPlan {
  readonly dir: string;
  readonly folderOf: FolderOf;
  readonly name: string;
  /** How many nodes sign with new keys; the clients' default, a majority, when absent. */
  readonly threshold?: number;
  readonly tokens: readonly { readonly name: string; readonly clients: readonly string[] }[];
  /** Where members find the NATS servers, when not at the first host of each, at `port`. */
  readonly servers?: readonly string[];
  readonly port: number;
  /** Where a NATS server finds its folder and keeps its streams, on its machine. */
  readonly natsDir: string;
  readonly natsStoreDir: string;
  /** Where a member finds its folder, on its machine. Default: /etc/thsm. */
  readonly memberDir?: FolderOf;
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
  /** Where a client counts wrong PINs; beside its identity when absent. */
  readonly pinAttemptsFile?: string;
  /** File with the PIN as the client sees it, so that the command line need not ask. */
  readonly pinSource?: string;
  /** With TLS and certificates for everybody; needed unless all hosts are loopback addresses. */
  readonly tls: boolean;
}

const routePort = 6222;
/** Below a cluster's directory; of no member. */
export const caFolder = "ca";

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

/** All members of a cluster whose keys are made in one place. */
export interface WholeClusterPlan extends Omit<ClusterPlan, "tokens"> {
  /** How many nodes, named n1, n2, … */
  readonly parties: number;
  readonly token: string;
  /** One host, or one for each server of a NATS cluster. */
  readonly hosts: readonly string[];
}

const clientName = "c1";

/**
 * Makes every participant's keys in its folder, and a cluster of them. Returns the client's PIN and
 * recovery code, which are nowhere else.
 */
export async function createWholeCluster(plan: WholeClusterPlan): Promise<Required<Protection>> {
  const { parties, hosts, tls, token } = plan;
  const protection = {
    pin: String(randomInt(10_000_000, 100_000_000)),
    recoveryCode: newRecoveryCode(),
  };
  const wanted: Pick<MemberPlan, "role" | "name" | "hosts" | "protection">[] = [
    ...Array.from({ length: parties }, (_, i) => ({ role: "node" as const, name: `n${i + 1}` })),
    { role: "client", name: clientName, protection },
    { role: "operator", name: "op" },
    { role: "auditor", name: "auditor" },
    ...hosts.map((host, i) => {
      const name = hosts.length === 1 ? "nats" : `nats-${i + 1}`;
      return { role: "server" as const, name, hosts: [host] };
    }),
  ];
  const parts = await Promise.all(
    wanted.map((one) => createMember({ ...one, tls, dir: join(plan.dir, plan.folderOf(one)) })),
  );
  await assembleCluster({ ...plan, tokens: [{ name: token, clients: [clientName] }] }, parts);
  return protection;
}

/**
 * Writes into each participant's folder what it needs to know of the others, its configuration and its
 * certificate. Makes what belongs to whoever puts the cluster together: the provisioner, and the CAs
 * unless they are there already.
 * @throws HsmError `ERR_INVALID_ARGUMENT`, `ERR_INVALID_CONFIG` for parts that do not fit together
 */
export async function assembleCluster(
  plan: ClusterPlan,
  members: readonly PublicPart[],
): Promise<void> {
  const own = { role: "provisioner", name: provisioner } as const;
  const made = await createMember({
    ...own,
    dir: join(plan.dir, plan.folderOf(own)),
    tls: plan.tls,
  });
  const parts = [...members, made];
  requireDistinctNames(parts);
  for (const part of parts) await mkdir(folder(plan, part), { recursive: true, mode: 0o700 });
  await writeClusterFile(plan, parts);
  await writeConfigs(plan, parts);
  if (plan.tls) await writeCertificates(plan, parts);
}

function folder({ dir, folderOf }: ClusterPlan, part: PublicPart): string {
  return join(dir, folderOf(part));
}

function ofRole(parts: readonly PublicPart[], role: PartRole): readonly PublicPart[] {
  return parts.filter((part) => part.role === role);
}

/** A name is a folder, an inbox and a line in a certificate. */
function requireDistinctNames(parts: readonly PublicPart[]): void {
  const seen = new Set([caFolder]);
  for (const { name } of parts) {
    if (seen.has(name)) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `the name ${name} is taken: choose another one`);
    }
    seen.add(name);
  }
  if (ofRole(parts, "server").length === 0) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      "there is no server: thsm identity create --role server",
    );
  }
}

async function writeClusterFile(plan: ClusterPlan, parts: readonly PublicPart[]): Promise<void> {
  const entries = (role: PartRole): object[] =>
    ofRole(parts, role).map(({ name, identity, login }) => ({ name, identity, login }));
  const text = stringify({
    version: 1,
    name: plan.name,
    servers: serversOf(plan, parts),
    ...(plan.tls ? { tlsCa: "ca.pem" } : {}),
    node: entries("node"),
    client: entries("client"),
    operator: entries("operator"),
    auditor: entries("auditor"),
    token: plan.tokens.map(({ name, clients }) => ({ name, clients })),
  });
  for (const part of parts) {
    if (part.role === "server") continue;
    const file = join(folder(plan, part), "cluster.toml");
    await writeFile(file, text);
    // What no process would accept shows here.
    await readCluster(file);
  }
}

function serversOf(
  { servers, port, tls }: ClusterPlan,
  parts: readonly PublicPart[],
): readonly string[] {
  const scheme = tls ? "tls" : "nats";
  const addresses = ofRole(parts, "server").map((part) => urlHost(hostOf(part)));
  return servers ?? addresses.map((address) => `${scheme}://${address}:${port}`);
}

function urlHost(host: string = ""): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

async function writeConfigs(plan: ClusterPlan, parts: readonly PublicPart[]): Promise<void> {
  const { pinSource, pinAttemptsFile, threshold } = plan;
  const login = {
    version: 1,
    cluster: "cluster.toml",
    loginFile: "login.nk",
    ...(plan.tls ? { tlsCert: "cert.pem", tlsKey: "key.pem" } : {}),
  };
  const member = { ...login, identityFile: "identity.json" };
  const daemon = { version: 1, client: "client.toml", socket: plan.socket };
  const optional = { threshold, pinSource, pinAttemptsFile };
  const client = {
    ...member,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
  const configs: Record<PartRole, (name: string) => Readonly<Record<string, object>>> = {
    node: (name) => ({ "node.toml": { ...member, name, dataDir: plan.dataDir } }),
    client: (name) => ({ "client.toml": { ...client, name }, "pkcs11d.toml": daemon }),
    operator: (name) => ({ "operator.toml": { ...member, name } }),
    auditor: (name) => ({ "auditor.toml": { ...login, name } }),
    provisioner: () => ({ "provisioner.toml": login }),
    server: () => ({}),
  };
  for (const part of parts) {
    for (const [file, config] of Object.entries(configs[part.role](part.name))) {
      await writeFile(join(folder(plan, part), file), stringify(config));
    }
  }
  await writeNatsContexts(plan, parts);
  const servers = ofRole(parts, "server");
  for (const server of servers) {
    const config = renderNatsConfig(natsConfig(plan, server, servers, parts));
    await writeFile(join(folder(plan, server), "server.conf"), config);
  }
}

/** For the nats command line: `nats --context FILE`. Its paths must be whole. */
async function writeNatsContexts(plan: ClusterPlan, parts: readonly PublicPart[]): Promise<void> {
  for (const part of [...ofRole(parts, "auditor"), ...ofRole(parts, "operator")]) {
    const { role, name, archiver } = part;
    const at = plan.memberDir?.(part) ?? "/etc/thsm";
    const write = async (file: string, user: string, nkey: string): Promise<void> => {
      const context = {
        description: `${user} of Threshold HSM cluster ${plan.name}`,
        url: serversOf(plan, parts).join(","),
        nkey: join(at, nkey),
        inbox_prefix: `_INBOX_${user}`,
        ...(plan.tls
          ? { ca: join(at, "ca.pem"), cert: join(at, "cert.pem"), key: join(at, "key.pem") }
          : {}),
      };
      await writeFile(join(folder(plan, part), file), `${JSON.stringify(context, null, 2)}\n`);
    };
    await write("nats-context.json", name, "login.nk");
    if (role === "auditor" && archiver !== undefined) {
      await write("nats-archive-context.json", archiverName(part), "archiver.nk");
    }
  }
}

function archiverName({ name }: PublicPart): string {
  return `${name}-archiver`;
}

function hostOf({ hosts = [] }: PublicPart): string {
  return hosts[0] ?? "";
}

function natsConfig(
  plan: ClusterPlan,
  server: PublicPart,
  servers: readonly PublicPart[],
  parts: readonly PublicPart[],
): NatsConfigInput {
  const { port, natsDir, natsStoreDir, natsBytes, monitorPort, syncAlways } = plan;
  const host = hostOf(server);
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
  const users = (role: PartRole): { name: string; nkey: string }[] =>
    ofRole(parts, role).map(({ name, login = "" }) => ({ name, nkey: login }));
  return {
    serverName: server.name,
    host: listen,
    port,
    storeDir: natsStoreDir,
    ...(natsBytes === undefined ? {} : { maxBytes: natsBytes }),
    ...(monitorPort === undefined ? {} : { monitorPort }),
    ...(syncAlways === undefined ? {} : { syncAlways }),
    ...tlsFiles("server", "ca"),
    ...(servers.length === 1
      ? {}
      : {
          cluster: {
            name: plan.name,
            host: listen,
            port: routePort,
            routes: servers
              .filter((other) => other !== server)
              .map((other) => `${urlHost(hostOf(other))}:${routePort}`),
            ...tlsFiles("route", "route-ca"),
          },
        }),
    nodes: users("node"),
    clients: users("client"),
    operators: users("operator"),
    auditors: users("auditor"),
    provisioner: users("provisioner")[0]?.nkey ?? "",
    archivers: ofRole(parts, "auditor").flatMap((part) =>
      part.archiver === undefined ? [] : [{ name: archiverName(part), nkey: part.archiver }],
    ),
  };
}

async function writeCertificates(plan: ClusterPlan, parts: readonly PublicPart[]): Promise<void> {
  const hasRoutes = ofRole(parts, "server").length > 1;
  const ca = await authority(plan.dir, "ca", "Threshold HSM members");
  const routeCa = hasRoutes
    ? await authority(plan.dir, "route-ca", "Threshold HSM routes")
    : undefined;
  for (const part of parts) {
    const at = folder(plan, part);
    const { name, role, tlsRequest = "", routeRequest = "" } = part;
    if (role !== "server") {
      await writeFile(join(at, "ca.pem"), ca.pem.cert);
      const cert = ca.certify(tlsRequest, { name, hosts: [], usage: "member" });
      await writeFile(join(at, "cert.pem"), cert);
      continue;
    }
    const hosts = certifiedHosts(part.hosts ?? []);
    await mkdir(join(at, "tls"), { recursive: true, mode: 0o700 });
    await writeFile(join(at, "tls", "ca.crt"), ca.pem.cert);
    const cert = ca.certify(tlsRequest, { name, hosts, usage: "server" });
    await writeFile(join(at, "tls", "server.crt"), cert);
    if (routeCa === undefined) continue;
    await writeFile(join(at, "tls", "route-ca.crt"), routeCa.pem.cert);
    const route = routeCa.certify(routeRequest, { name, hosts, usage: "route" });
    await writeFile(join(at, "tls", "route.crt"), route);
  }
}

/** nats.js 3.3 checks the certificate of a server that it knows by an address as that of localhost. */
function certifiedHosts(hosts: readonly string[]): string[] {
  const isByAddress = hosts.some((host) => isIP(host) !== 0);
  return [...new Set(isByAddress ? [...hosts, "localhost"] : hosts)];
}

/** The CA that lies below `dir`, or a new one: what signs further certificates, and the next ones. */
async function authority(dir: string, file: string, name: string): Promise<Authority> {
  const at = join(dir, caFolder);
  const [certFile, keyFile] = [join(at, `${file}.crt`), join(at, `${file}.key`)];
  const present: string[] = await readdir(at).catch(() => []);
  if (present.includes(`${file}.key`)) {
    const key = (await readSecretFile(keyFile)).toString("utf8");
    return new Authority({ cert: await readFile(certFile, "utf8"), key });
  }
  const made = Authority.create(name);
  await mkdir(at, { recursive: true, mode: 0o700 });
  await writeFile(certFile, made.pem.cert);
  await writeSecretFile(keyFile, made.pem.key);
  return made;
}

/** pkcs11.conf: where the PKCS#11 module finds the daemon. */
export function moduleConfig(socket: string, token: string): string {
  return `# Threshold HSM's PKCS#11 module\nsocket = ${socket}\ntoken = ${token}\n`;
}
