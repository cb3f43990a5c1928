/** @module `thsm cluster create`: a cluster out of public halves. No private key is needed for it. */
import { resolve } from "node:path";
import { InvalidArgumentError, type Command } from "commander";
import { HsmError } from "../errors.js";
import { memberName } from "../identity/names.js";
import { parseBytes } from "./bytes.js";
import { assembleCluster, caFolder, fillDirectory } from "./cluster-files.js";
import { print, type GlobalOptions } from "./context.js";
import { parseName, parsePort } from "./parse.js";
import { chooseThreshold } from "./parties.js";
import { fingerprintOf, readPart } from "./public-part.js";

interface TokenFlag {
  readonly name: string;
  readonly clients: readonly string[];
}

export interface ClusterFlags {
  readonly out: string;
  readonly name: string;
  readonly token: readonly TokenFlag[];
  readonly server?: readonly string[];
  readonly port: number;
  readonly threshold?: number;
  readonly storage?: number;
  readonly syncAlways: boolean;
}

export function addClusterCommands(program: Command): void {
  const cluster = program.command("cluster").description("who is in a cluster");
  cluster
    .command("create")
    .description("make a cluster out of the public parts of its members and servers")
    .argument("<public...>", "NAME.public.toml of everybody; nodes in the order of their shares")
    .requiredOption("--out <dir>", "where to; absent or empty")
    .requiredOption("--name <name>", "the cluster's name", parseName)
    .requiredOption("--token <name=clients...>", "a token and its clients", parseToken, [])
    .option(
      "--server <urls...>",
      "where members find NATS (default: tls:// and each server's first host)",
    )
    .option("--port <port>", "the port on which NATS listens", parsePort, 4222)
    .option("--threshold <k>", "how many nodes sign with new keys (default: a majority)", Number)
    .option("--storage <size>", "disk for the streams on a NATS server (default: 2GiB)", parseBytes)
    .option(
      "--no-sync-always",
      "let NATS acknowledge before fsync; before 2.10 it knows no other way",
    )
    .addHelpText(
      "after",
      `
Each participant gets a folder with cluster.toml, its configuration and its certificate, none of it secret: copy
it into the directory in which its keys were made. Here stay the CA (take it offline) and the provisioner's login.
Compare the fingerprints with what each host showed: whoever replaces a public part replaces the member.

  thsm cluster create --out ./cluster --name zones --token dns=alice,bob *.public.toml
  scp cluster/n1/* n1.example.net:/etc/thsm/`,
    )
    .action(async (files: string[], flags: ClusterFlags) => {
      const made = await createCluster(files, flags);
      const lines = made.members.map(
        ({ role, name, fingerprint }) => `${fingerprint}  ${role} ${name}`,
      );
      const text = `${lines.join("\n")}
Compare these, copy each folder of ${made.dir} to its host, start nats-server, and run once:
  thsm provision --dir ${made.dir}
Then take ${caFolder}/ and provisioner/ offline.`;
      print(program.opts<GlobalOptions>(), made, text);
    });
}

export interface CreatedCluster {
  readonly dir: string;
  readonly members: readonly {
    readonly role: string;
    readonly name: string;
    readonly fingerprint: string;
  }[];
}

/** @throws HsmError `ERR_INVALID_ARGUMENT`, `ERR_INVALID_CONFIG`; nothing is left behind then */
export async function createCluster(
  files: readonly string[],
  flags: ClusterFlags,
): Promise<CreatedCluster> {
  const dir = resolve(flags.out);
  const parts = await Promise.all(files.map((file) => readPart(file)));
  const { threshold, storage, server: servers } = flags;
  if (threshold !== undefined) {
    const parties = parts.filter(({ role }) => role === "node").length;
    chooseThreshold({ parties, threshold });
  }
  const plain = servers?.filter((url) => !url.startsWith("tls://")) ?? [];
  if (plain.length > 0 && plain.length !== servers?.length) {
    throw new HsmError("ERR_INVALID_ARGUMENT", "--server: all tls://, or on loopback all nats://");
  }
  await fillDirectory(dir, () =>
    assembleCluster(
      {
        dir,
        folderOf: ({ name }) => name,
        name: flags.name,
        tokens: flags.token,
        ...(servers === undefined ? {} : { servers }),
        ...(threshold === undefined ? {} : { threshold }),
        ...(storage === undefined ? {} : { natsBytes: storage }),
        port: flags.port,
        natsDir: "/etc/nats",
        natsStoreDir: "/var/lib/nats",
        syncAlways: flags.syncAlways,
        monitorPort: 8222,
        dataDir: "/var/lib/thsm",
        pinAttemptsFile: "/var/lib/thsm/pin.attempts",
        socket: "/run/thsm/pkcs11d.sock",
        tls: plain.length === 0,
      },
      parts,
    ),
  );
  const members = parts.map((part) => ({
    role: part.role,
    name: part.name,
    fingerprint: fingerprintOf(part),
  }));
  return { dir, members };
}

function parseToken(text: string, before: readonly TokenFlag[]): readonly TokenFlag[] {
  const [, name, list] = /^([^=]+)=([^=]+)$/.exec(text) ?? [];
  const clients = list?.split(",") ?? [];
  if (name === undefined || ![name, ...clients].every((one) => memberName.test(one))) {
    throw new InvalidArgumentError("expected a token and its clients, as in dns=alice,bob");
  }
  return [...before, { name, clients }];
}
