/**
 * @module The configuration of the NATS servers, with a permission list for every member.
 * A pure function of the cluster's public facts: no file is read, no secret goes in or comes out.
 */
import { HsmError } from "../errors.js";
import { isLoopback } from "../identity/names.js";
import {
  archiverPermissions,
  auditorPermissions,
  clientPermissions,
  keptStreams,
  nodePermissions,
  operatorPermissions,
  provisioner,
  provisionerPermissions,
  type NatsPermissions,
  type SubjectList,
} from "./nats-permissions.js";

/** A member's name and its public login key. */
export interface NatsUser {
  /** `[A-Za-z0-9_-]{1,64}`, unique over all roles: the name is also the inbox. */
  readonly name: string;
  /** Public NKey of a user: `U` and 55 base32 characters. */
  readonly nkey: string;
}

/** Files of a TLS endpoint, as the server sees them. The other side must show a certificate too. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** One server's place among several. */
export interface NatsClusterInput {
  /** The same for all servers of the cluster. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The other servers, as `host:port` of their cluster endpoints. */
  readonly routes: readonly string[];
  /**
   * Must have another CA than the clients': a route speaks for every account, so whoever holds a
   * certificate that this endpoint accepts is above all permissions.
   */
  readonly tls?: TlsFiles;
}

export interface NatsConfigInput {
  readonly serverName: string;
  readonly host: string;
  /** -1 lets the system choose; `portsFileDir` tells what it chose. */
  readonly port: number;
  /** Must be given unless every listen address is a loopback address. */
  readonly tls?: TlsFiles;
  readonly cluster?: NatsClusterInput;
  /** Monitoring over HTTP, without authentication, so always on 127.0.0.1. -1 as for `port`. */
  readonly monitorPort?: number;
  /** Where the server writes `nats-server_<pid>.ports`. For development. */
  readonly portsFileDir?: string;
  readonly storeDir: string;
  /** Most bytes on disk for all streams. Keep the sum of both below the free disk. Default 2 GiB. */
  readonly maxBytes?: number;
  /** Most bytes on disk for the mirrors in account AUDIT. Default: as `maxBytes`. */
  readonly auditMaxBytes?: number;
  /** fsync before every acknowledgement. Needs nats-server 2.10: older ones refuse to start. */
  readonly syncAlways?: boolean;
  readonly nodes: readonly NatsUser[];
  readonly clients: readonly NatsUser[];
  readonly operators: readonly NatsUser[];
  readonly auditors: readonly NatsUser[];
  /** Public NKey of the provisioner. */
  readonly provisioner: string;
  /** Readers of account AUDIT. */
  readonly archivers: readonly NatsUser[];
  /** Users of the system account: `nats server report`, and power over all accounts. */
  readonly systemUsers?: readonly NatsUser[];
}

/**
 * The largest message. A share message with 64 shares and proofs at 4096 bits has about 200 KiB,
 * a sealed dealing 64 KiB, a request 32 KiB (bound by their streams); the rest is headroom.
 */
const maxPayload = 512 * 1024;
const defaultMaxBytes = 2 * 1024 ** 3;

/**
 * The text of a nats-server configuration file.
 * @throws HsmError `ERR_INVALID_CONFIG` for a name, key, path or address that is not one, for a name
 * or key used twice, and for an address beyond loopback without TLS.
 */
export function renderNatsConfig(cluster: NatsConfigInput): string {
  checkMembers(cluster);
  checkEncryption(cluster);
  const { monitorPort, portsFileDir, tls } = cluster;
  const maxBytes = positive("maxBytes", cluster.maxBytes ?? defaultMaxBytes);
  const auditMaxBytes = positive("auditMaxBytes", cluster.auditMaxBytes ?? maxBytes);
  // An account's limit counts every replica of a stream.
  const servers = (cluster.cluster?.routes.length ?? 0) + 1;
  return [
    "# nats-server configuration of Threshold HSM. Generated: change the inputs, not this file.",
    "# nats/README.md explains every permission.",
    `server_name: ${quoted(checkedName(cluster.serverName))}`,
    `listen: ${quoted(address(cluster.host, cluster.port))}`,
    ...(monitorPort === undefined ? [] : [`http: ${quoted(address("127.0.0.1", monitorPort))}`]),
    ...(portsFileDir === undefined ? [] : [`ports_file_dir: ${path(portsFileDir)}`]),
    `max_payload: ${maxPayload}`,
    "max_connections: 256",
    ...(tls === undefined ? [] : renderTls(tls, "")),
    ...(cluster.cluster === undefined ? [] : renderCluster(cluster.cluster)),
    "jetstream {",
    `  store_dir: ${path(cluster.storeDir)}`,
    "  max_mem: 64M",
    `  max_file: ${maxBytes + auditMaxBytes}`,
    `  ${cluster.syncAlways === true ? "" : "# With nats-server 2.10 or newer: "}sync_interval: always`,
    "}",
    "system_account: SYS",
    "accounts {",
    ...renderSystemAccount(cluster.systemUsers ?? []),
    ...renderHsmAccount(cluster, maxBytes * servers),
    ...renderAuditAccount(cluster.archivers, auditMaxBytes * servers),
    "}",
    "",
  ].join("\n");
}

function renderTls({ cert, key, ca }: TlsFiles, indent: string): string[] {
  return [
    "tls {",
    `  cert_file: ${path(cert)}`,
    `  key_file: ${path(key)}`,
    `  ca_file: ${path(ca)}`,
    "  verify: true",
    "}",
  ].map((line) => indent + line);
}

function renderCluster({ name, host, port, routes, tls }: NatsClusterInput): string[] {
  return [
    "cluster {",
    `  name: ${quoted(checkedName(name))}`,
    `  listen: ${quoted(address(host, port))}`,
    "  no_advertise: true",
    "  routes: [",
    ...routes.map(routeEnd).map((end) => `    "nats-route://${address(end.host, end.port)}"`),
    "  ]",
    ...(tls === undefined ? [] : renderTls(tls, "  ")),
    "}",
  ];
}

function renderSystemAccount(systems: readonly NatsUser[]): string[] {
  if (systems.length === 0) return ["  SYS {}"];
  return [
    "  SYS {",
    "    users: [",
    ...systems.flatMap(({ name, nkey }) => [`      # ${name}`, `      { nkey: ${quoted(nkey)} }`]),
    "    ]",
    "  }",
  ];
}

function renderHsmAccount(cluster: NatsConfigInput, maxBytes: number): string[] {
  const { nodes, clients, operators, auditors } = cluster;
  const nodeNames = nodes.map(({ name }) => name);
  return [
    "  THSM {",
    `    jetstream { max_mem: 32M, max_file: ${maxBytes}, max_streams: 16, max_consumers: 256 }`,
    "    exports: [",
    `      { stream: "thsm.v1.stored.>", accounts: [AUDIT] }`,
    ...mirrorCalls.map((call) => serviceExport(call)),
    `      { service: "$JS.FC.>", accounts: [AUDIT] }`,
    `      { stream: "thsm-mirror.>", accounts: [AUDIT] }`,
    "    ]",
    "    users: [",
    ...renderUser(
      "provisioner",
      { name: provisioner, nkey: cluster.provisioner },
      provisionerPermissions(nodeNames),
    ),
    ...nodes.flatMap((user) => renderUser("node", user, nodePermissions(user.name))),
    ...clients.flatMap((user) => renderUser("client", user, clientPermissions(user.name))),
    ...operators.flatMap((user) => renderUser("operator", user, operatorPermissions(user.name))),
    ...auditors.flatMap((user) => renderUser("auditor", user, auditorPermissions(user.name))),
    "    ]",
    "  }",
  ];
}

/** The JetStream calls with which a server of account AUDIT mirrors the streams of THSM. */
const mirrorCalls = keptStreams.flatMap((stream) => [
  `API.CONSUMER.CREATE.${stream}`,
  `API.CONSUMER.CREATE.${stream}.*`,
]);

function serviceExport(call: string): string {
  return `      { service: "$JS.${call}", response_type: stream, accounts: [AUDIT] }`;
}

function renderAuditAccount(archivers: readonly NatsUser[], maxBytes: number): string[] {
  return [
    "  # Mirrors of the streams, where any read command of the nats CLI works.",
    "  AUDIT {",
    `    jetstream { max_mem: 16M, max_file: ${maxBytes}, max_streams: 16, max_consumers: 64 }`,
    "    imports: [",
    `      { stream: { account: THSM, subject: "thsm.v1.stored.>" } }`,
    ...mirrorCalls.map(
      (call) =>
        `      { service: { account: THSM, subject: "$JS.${call}" }, to: "THSMJS.${call}" }`,
    ),
    `      { service: { account: THSM, subject: "$JS.FC.>" } }`,
    `      { stream: { account: THSM, subject: "thsm-mirror.>" } }`,
    "    ]",
    "    users: [",
    ...archivers.flatMap((user) => renderUser("archiver", user, archiverPermissions)),
    "    ]",
    "  }",
  ];
}

function renderUser(role: string, user: NatsUser, permissions: NatsPermissions): string[] {
  return [
    role === user.name ? `# ${role}` : `# ${role} ${user.name}`,
    `{ nkey: ${quoted(user.nkey)}, permissions: {`,
    ...renderSubjects("publish", permissions.publish),
    ...renderSubjects("subscribe", permissions.subscribe),
    "} }",
  ].map((line) => `      ${line}`);
}

function renderSubjects(verb: string, { allow, deny }: SubjectList): string[] {
  const lists = { allow, ...(deny === undefined ? {} : { deny }) };
  return [
    `  ${verb}: {`,
    ...Object.entries(lists).flatMap(([name, subjects]) => [
      `    ${name}: [`,
      ...subjects.map((subject) => `      ${quoted(subject)}`),
      "    ]",
    ]),
    "  }",
  ];
}

/** Names are inboxes and keys are identities: neither may serve two members. */
function checkMembers(cluster: NatsConfigInput): void {
  const users = [
    { name: provisioner, nkey: cluster.provisioner },
    ...cluster.nodes,
    ...cluster.clients,
    ...cluster.operators,
    ...cluster.auditors,
    ...cluster.archivers,
    ...(cluster.systemUsers ?? []),
  ];
  const seen = new Set<string>();
  for (const { name, nkey } of users) {
    checkedName(name);
    if (!/^U[A-Z2-7]{55}$/.test(nkey)) {
      // Without the value: who mixes the two up passes a secret seed.
      throw invalid(`${name}: expected the public NKey of a user, U and 55 characters`);
    }
    for (const mark of [name, nkey]) {
      if (seen.has(mark)) throw invalid(`${mark} is used by two members`);
      seen.add(mark);
    }
  }
}

function checkEncryption({ host, tls, cluster }: NatsConfigInput): void {
  if (tls === undefined && !isLoopback(host)) {
    throw invalid(`listening on ${JSON.stringify(host)} needs tls: it is not a loopback address`);
  }
  if (cluster === undefined) return;
  const ends = [cluster.host, ...cluster.routes.map((route) => routeEnd(route).host)];
  const exposed = ends.find((end) => !isLoopback(end));
  if (cluster.tls === undefined && exposed !== undefined) {
    throw invalid(`routes with ${JSON.stringify(exposed)} need tls: not a loopback address`);
  }
  if (cluster.tls !== undefined && cluster.tls.ca === tls?.ca) {
    throw invalid("routes need a CA of their own: with the clients' CA every client is a server");
  }
}

function checkedName(name: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return name;
  throw invalid(`expected a name of 1 to 64 letters, digits, _ and -, got ${JSON.stringify(name)}`);
}

function address(host: string, port: number): string {
  if (!Number.isInteger(port) || port < -1 || port === 0 || port > 65535) {
    throw invalid(`expected a port of 1 to 65535, or -1, got ${port}`);
  }
  if (/^[0-9A-Fa-f:]+:[0-9A-Fa-f:.]*$/.test(host)) return `[${host}]:${port}`;
  if (/^[A-Za-z0-9.-]{1,253}$/.test(host)) return `${host}:${port}`;
  throw invalid(`expected a host name or address, got ${JSON.stringify(host)}`);
}

function routeEnd(route: string): { host: string; port: number } {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(route) ?? [];
  if (host === undefined) throw invalid(`expected host:port, got ${JSON.stringify(route)}`);
  return { host, port: Number(port) };
}

function path(text: string): string {
  if (/^[^"\\\p{Cc}]+$/u.test(text)) return quoted(text);
  throw invalid(`expected a path without quotes and backslashes, got ${JSON.stringify(text)}`);
}

function positive(field: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw invalid(`${field}: expected a positive whole number, got ${value}`);
}

/** Everything that gets here has been checked to hold no quote and no backslash. */
function quoted(text: string): string {
  return `"${text}"`;
}

function invalid(message: string): HsmError {
  return new HsmError("ERR_INVALID_CONFIG", message);
}
