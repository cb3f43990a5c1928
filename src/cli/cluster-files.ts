/**
 * @module A whole cluster's files in one directory, for development and for containers: every
 * member gets a folder of its own with all it needs and nothing of the others' secrets. In
 * production each host makes its own identity, and only the public halves meet.
 */
import { randomInt } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { stringify } from "smol-toml";
import { createIdentityFile } from "../identity/identity-file.js";
import { writeSecretFile } from "../identity/secret-file.js";
import { renderNatsConfig, type NatsConfigInput, type NatsUser } from "./nats-config.js";
import { createTls } from "./tls.js";

export interface ClusterPlan {
  /** Must be absent or empty. */
  readonly dir: string;
  readonly name: string;
  /** How many nodes, named n1, n2, … */
  readonly parties: number;
  readonly threshold: number;
  readonly token: string;
  /** Where members find NATS. */
  readonly host: string;
  readonly port: number;
  /** Where NATS listens, finds its certificates and keeps its streams, as the server sees it. */
  readonly listen: string;
  readonly natsDir: string;
  readonly natsStoreDir: string;
  /** Where nodes keep their data, seen from their folder. */
  readonly dataDir: string;
  /** The daemon's socket, an absolute path. */
  readonly socket: string;
  /** With TLS and certificates for everybody; needed unless `listen` is a loopback address. */
  readonly tls: boolean;
}

/** The folders below a cluster's directory. */
export const folders = {
  nats: "nats",
  client: "client",
  operator: "operator",
  auditor: "auditor",
  node: (name: string): string => join("nodes", name),
} as const;

interface Made {
  readonly name: string;
  readonly identity: string;
  readonly login: string;
}

const clientName = "c1";
const operatorName = "op";
const auditorName = "auditor";
const archiverName = "archiver";

/** Writes all files. The client's PIN lies in `client/pin`, mode 0600. */
export async function createClusterFiles(plan: ClusterPlan): Promise<void> {
  const at = (...parts: string[]): string => join(plan.dir, ...parts);
  const pin = String(randomInt(10_000_000, 100_000_000));
  const names = Array.from({ length: plan.parties }, (_, index) => `n${index + 1}`);

  const nodes = await Promise.all(names.map((name) => createMember(at(folders.node(name)), name)));
  const client = await createMember(at(folders.client), clientName, pin);
  const operator = await createMember(at(folders.operator), operatorName);
  const auditor = await createMember(at(folders.auditor), auditorName);
  const provisioner = await createLogin(at(folders.nats, "provisioner.nk"));
  const archiver = await createLogin(at(folders.auditor, "archiver.nk"));
  await writeSecretFile(at(folders.client, "pin"), `${pin}\n`);

  const memberFolders = new Map([
    ...names.map((name) => [name, at(folders.node(name))] as const),
    [clientName, at(folders.client)],
    [operatorName, at(folders.operator)],
    [auditorName, at(folders.auditor)],
    ["provisioner", at(folders.nats)],
  ]);
  if (plan.tls) await writeCertificates(plan, memberFolders);
  const tlsFiles = plan.tls ? { tlsCert: "cert.pem", tlsKey: "key.pem" } : {};

  const clusterText = stringify({
    version: 1,
    name: plan.name,
    servers: [`${plan.tls ? "tls" : "nats"}://${plan.host}:${plan.port}`],
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

  const common = {
    version: 1,
    cluster: "cluster.toml",
    identityFile: "identity.json",
    loginFile: "login.nk",
    ...tlsFiles,
  };
  for (const name of names) {
    const config = { ...common, name, dataDir: plan.dataDir };
    await writeFile(at(folders.node(name), "node.toml"), stringify(config));
  }
  await writeFile(
    at(folders.client, "client.toml"),
    stringify({ ...common, name: clientName, pinSource: "pin", threshold: plan.threshold }),
  );
  await writeFile(
    at(folders.client, "pkcs11d.toml"),
    stringify({ version: 1, client: "client.toml", socket: plan.socket }),
  );
  const { identityFile: _, ...reader } = common;
  await writeFile(at(folders.auditor, "auditor.toml"), stringify({ ...reader, name: auditorName }));
  await writeFile(
    at(folders.nats, "server.conf"),
    renderNatsConfig(natsInput(plan, nodes, client, operator, auditor, provisioner, archiver)),
  );
}

function natsInput(
  plan: ClusterPlan,
  nodes: readonly Made[],
  client: Made,
  operator: Made,
  auditor: Made,
  provisioner: string,
  archiver: string,
): NatsConfigInput {
  const user = ({ name, login }: Made): NatsUser => ({ name, nkey: login });
  return {
    serverName: `${plan.name}-1`,
    host: plan.listen,
    port: plan.port,
    ...(plan.tls
      ? {
          tls: {
            cert: join(plan.natsDir, "server-cert.pem"),
            key: join(plan.natsDir, "server-key.pem"),
            ca: join(plan.natsDir, "ca.pem"),
          },
        }
      : {}),
    storeDir: plan.natsStoreDir,
    nodes: nodes.map(user),
    clients: [user(client)],
    operators: [user(operator)],
    auditors: [user(auditor)],
    provisioner,
    archivers: [{ name: archiverName, nkey: archiver }],
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
  await mkdir(join(file, ".."), { recursive: true, mode: 0o700 });
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
  const { ca, servers, members } = createTls({
    servers: { [`${plan.name}-1`]: [plan.host] },
    members: [...memberFolders.keys()],
  });
  for (const [name, folder] of memberFolders) {
    const own = members[name];
    if (own === undefined) continue;
    await writeFile(join(folder, "ca.pem"), ca.cert);
    await writeFile(join(folder, "cert.pem"), own.cert);
    await writeSecretFile(join(folder, "key.pem"), own.key);
  }
  const server = servers[`${plan.name}-1`];
  if (server === undefined) return;
  const nats = join(plan.dir, folders.nats);
  await writeFile(join(nats, "server-cert.pem"), server.cert);
  await writeSecretFile(join(nats, "server-key.pem"), server.key);
}
