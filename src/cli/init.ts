/** @module `thsm init`: the files of a whole cluster, a folder for each participant. */
import { chown, mkdir, readdir, writeFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { join, resolve } from "node:path";
import { InvalidArgumentError, type Command } from "commander";
import { HsmError } from "../errors.js";
import { isLoopback } from "../identity/names.js";
import { writeSecretFile } from "../identity/secret-file.js";
import { parseBytes } from "./bytes.js";
import {
  caFolder,
  createWholeCluster,
  fillDirectory,
  moduleConfig,
  type FolderOf,
} from "./cluster-files.js";
import { print, type GlobalOptions } from "./context.js";
import { exampleZone, knotConfig } from "./knot-files.js";
import { parseName, parsePort } from "./parse.js";
import { chooseThreshold, withParties, type PartiesFlags } from "./parties.js";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface InitFlags extends PartiesFlags {
  readonly dir: string;
  readonly name: string;
  readonly token: string;
  readonly host: readonly string[];
  readonly port: number;
  readonly tls: boolean;
  readonly storage?: number;
  readonly syncAlways: boolean;
  readonly compose?: true;
  readonly zone: string;
  readonly owner?: Owner;
}

const clientFolder = "pkcs11d";
const folderOf: FolderOf = ({ role, name }) => {
  if (role === "client") return clientFolder;
  return role === "node" || role === "server" ? name : role;
};
/** Kept by a person, apart from all machines. */
const recoveryFolder = "recovery";
/** What the application needs that uses the PKCS#11 module. */
const applicationFolder = "knot";
const socket = "/run/thsm/pkcs11d.sock";
const monitorPort = 8222;
/** Of compose/compose.yaml. */
const composeNodes = 5;
/** The user of the images of compose/Containerfile. */
const imageOwner: Owner = { uid: 10001, gid: 10001 };
const domainName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i;

export function addInitCommand(program: Command): void {
  withParties(program.command("init"))
    .description("write the files of a whole cluster, a folder for each machine or container")
    .requiredOption("--dir <dir>", "where to; absent or empty")
    .option("--name <name>", "the cluster's name", parseName, "thsm")
    .option("--token <name>", "name of the token", parseName, "dns")
    .option("--host <hosts...>", "where members find NATS; three hosts make a cluster", ["nats"])
    .option("--port <port>", "NATS' port", parsePort, 4222)
    .option("--no-tls", "no TLS; only when NATS listens on a loopback address")
    .option("--storage <size>", "disk for the streams on a NATS server (default: 2GiB)", parseBytes)
    .option(
      "--no-sync-always",
      "let NATS acknowledge before fsync; before 2.10 it knows no other way",
    )
    .option("--compose", "for the containers of compose/compose.yaml, with Knot DNS")
    .option("--zone <zone>", "with --compose: the zone that Knot signs", "threshold.example")
    .option(
      "--owner <uid:gid>",
      "who gets the files (default: with --compose 10001:10001)",
      parseOwner,
    )
    .addHelpText(
      "after",
      `
Every private key is made here and lies in the folder of its owner alone: bring each folder to its
machine over a trusted way, then remove it here. For keys that never travel see thsm identity create.

  thsm init --dir ./deployment --compose
  thsm init --dir ./cluster --host nats1.example nats2.example nats3.example`,
    )
    .action(async (flags: InitFlags) => {
      const made = await initCluster(flags);
      const { dir } = made;
      const text = flags.compose === true ? afterCompose(dir, flags) : afterHosts(flags);
      print(program.opts<GlobalOptions>(), made, `wrote ${made.folders.join(", ")}\n\n${text}`);
    });
}

export interface Initialised {
  readonly dir: string;
  readonly folders: readonly string[];
  readonly parties: number;
  readonly threshold: number;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT`; nothing is left behind then */
export async function initCluster(flags: InitFlags): Promise<Initialised> {
  const dir = resolve(flags.dir);
  const threshold = chooseThreshold(flags);
  check(flags);
  await fillDirectory(dir, () => writeFiles(dir, threshold, flags));
  const made = (await readdir(dir)).toSorted();
  return { dir, folders: made, parties: flags.parties, threshold };
}

function check({ host: hosts, tls, token, zone, compose, parties }: InitFlags): void {
  const odd = hosts.find((host) => !isIPv4(host) && !domainName.test(host));
  if (odd !== undefined) throw invalid(`--host: ${JSON.stringify(odd)} is no host name or address`);
  const exposed = hosts.find((host) => !isLoopback(host));
  if (!tls && exposed !== undefined) {
    throw invalid(`--no-tls: ${exposed} is not a loopback address, so NATS there needs TLS`);
  }
  if (new Set(hosts).size !== hosts.length || hosts.length === 2) {
    throw invalid("--host: one, or three and more different hosts; of two, none may be lost");
  }
  // PKCS#11 pads labels to 32 bytes.
  if (token.length > 32) throw invalid("--token: at most 32 characters");
  if (!domainName.test(zone)) throw invalid(`--zone: ${JSON.stringify(zone)} is no domain name`);
  if (compose === true && hosts.length > 1) throw invalid("--compose has one NATS server");
  if (compose === true && parties > composeNodes) {
    throw invalid(`--compose: compose/compose.yaml has ${composeNodes} nodes`);
  }
}

async function writeFiles(dir: string, threshold: number, flags: InitFlags): Promise<void> {
  const { token, zone, compose, storage, syncAlways } = flags;
  const { pin, recoveryCode } = await createWholeCluster({
    dir,
    folderOf,
    name: flags.name,
    parties: flags.parties,
    threshold,
    token,
    hosts: flags.host,
    port: flags.port,
    natsDir: "/etc/nats",
    natsStoreDir: "/var/lib/nats",
    ...(storage === undefined ? {} : { natsBytes: storage }),
    syncAlways,
    monitorPort,
    dataDir: "/var/lib/thsm",
    pinAttemptsFile: "/var/lib/thsm/pin.attempts",
    socket,
    tls: flags.tls,
  });
  await mkdir(join(dir, recoveryFolder), { mode: 0o700 });
  await writeSecretFile(join(dir, recoveryFolder, "code"), `${recoveryCode}\n`);
  const application = join(dir, applicationFolder);
  await mkdir(application, { mode: 0o700 });
  await writeSecretFile(join(application, "pin"), `${pin}\n`);
  await writeFile(join(application, "pkcs11.conf"), moduleConfig(socket, token));
  if (compose === true) {
    await writeFile(join(application, "knot.conf"), knotConfig(zone, token));
    await writeFile(join(application, `${zone}.zone`), exampleZone(zone));
  }
  const isRoot = process.geteuid?.() === 0;
  const owner = flags.owner ?? (compose === true && isRoot ? imageOwner : undefined);
  if (owner !== undefined) await handOver(dir, owner);
}

/** Gives away what belongs to a participant; the directory and the CA stay with who runs this. */
async function handOver(dir: string, { uid, gid }: Owner): Promise<void> {
  for (const folder of await readdir(dir)) {
    if (folder === caFolder || folder === recoveryFolder) continue;
    const path = join(dir, folder);
    const entries = await readdir(path, { recursive: true });
    for (const one of [path, ...entries.map((entry) => join(path, entry))]) {
      await chown(one, uid, gid);
    }
  }
}

function afterCompose(dir: string, { tls, parties }: InitFlags): string {
  const nodes = Array.from({ length: parties }, (_, index) => `n${index + 1}`);
  const services =
    parties === composeNodes ? "" : ` nats provision ${nodes.join(" ")} pkcs11d knot`;
  const isRoot = process.geteuid?.() === 0;
  return `Next:${isRoot ? "" : `\n  podman unshare chown -R 10001:10001 ${dir}      the user of the images`}
  compose/build                                   the images; once
  export THSM_DEPLOYMENT=${dir}
  podman-compose --file compose/compose.yaml up --detach${services}
                                                  docker compose does as well
Knot makes its keys, which takes a minute, and signs; follow it with:
  podman logs --follow threshold-hsm_knot_1
  kdig @127.0.0.1 -p 5300 +tcp AXFR ZONE
The history, as the auditor sees it:
  podman run --rm --network threshold-hsm_bus -v ${join(dir, "auditor")}:/etc/thsm:ro \\
    localhost/threshold-hsm-thsm thsm audit verify --auditor /etc/thsm/auditor.toml
${caAdvice(dir, tls)}`;
}

function afterHosts({ dir, tls, host: hosts }: InitFlags): string {
  const natsRows =
    hosts.length === 1
      ? [["nats", "/etc/nats", hosts[0] ?? ""]]
      : hosts.map((host, index) => [`nats-${index + 1}`, "/etc/nats", host]);
  const rows = [
    ...natsRows,
    ["n1, n2, …", "/etc/thsm", "a node's machine, each another one"],
    [clientFolder, "/etc/thsm", "the name server; with knot/pkcs11.conf beside it"],
    [`${applicationFolder}/pin`, "pin-source", "a file that only the name server's user reads"],
    ["auditor", "/etc/thsm", "the auditor's machine"],
    ["operator", "/etc/thsm", "the operator's machine"],
    ["provisioner", "/etc/thsm", "any machine for now; offline afterwards"],
    [`${recoveryFolder}/code`, "paper", "for the day the PIN is forgotten; no machine"],
  ];
  const table = rows.map(
    ([folder = "", place = "", where = ""]) => `  ${folder.padEnd(13)}${place.padEnd(12)}${where}`,
  );
  return `Bring each folder to its machine, then remove it here:
${table.join("\n")}
Then start nats-server -c /etc/nats/server.conf, and once:
  thsm provision
and thsm-node --config /etc/thsm/node.toml on every node, thsm-pkcs11d --config
/etc/thsm/pkcs11d.toml on the name server. docs/operations.md tells the rest.
${caAdvice(dir, tls)}`;
}

function caAdvice(dir: string, tls: boolean): string {
  if (!tls) return "There is no TLS: keep all of it on this machine.";
  return `Move ${join(dir, caFolder)} offline: its keys make certificates for further members, and new
ones before these end in 825 days.`;
}

function parseOwner(text: string): Owner {
  const [, uid, gid] = /^(\d{1,9}):(\d{1,9})$/.exec(text) ?? [];
  if (uid === undefined) throw new InvalidArgumentError("expected two numbers, as in 10001:10001");
  return { uid: Number(uid), gid: Number(gid) };
}

function invalid(message: string): HsmError {
  return new HsmError("ERR_INVALID_ARGUMENT", message);
}
