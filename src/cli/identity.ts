/** @module `thsm identity`: the keys of one participant, made on its own host. */
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Option, type Command } from "commander";
import { HsmError } from "../errors.js";
import { requirePin, type Protection } from "../identity/identity-file.js";
import { newRecoveryCode } from "../identity/recovery-code.js";
import { writeSecretFile } from "../identity/secret-file.js";
import { fillDirectory } from "./cluster-files.js";
import { print, readNewPin, type GlobalOptions } from "./context.js";
import { createMember } from "./member-files.js";
import { parseName } from "./parse.js";
import { fingerprintOf, partRoles, readPart, renderPart, type PartRole } from "./public-part.js";

interface CreateFlags {
  readonly role: PartRole;
  readonly name: string;
  readonly out: string;
  readonly pinSource?: string;
  readonly recoveryOut?: string;
  readonly host?: readonly string[];
}

/** The provisioner is made by `thsm cluster create`. */
const choices = partRoles.filter((role) => role !== "provisioner");

export function addIdentityCommands(program: Command): void {
  const identity = program
    .command("identity")
    .description("the keys of one participant, made where they stay");
  const options = (): GlobalOptions => program.opts<GlobalOptions>();
  identity
    .command("create")
    .description("make this host's keys; what others need is in NAME.public.toml")
    .addOption(
      new Option("--role <role>", "what it will be").choices(choices).makeOptionMandatory(),
    )
    .requiredOption("--name <name>", "its name in the cluster", parseName)
    .requiredOption("--out <dir>", "where to; absent or empty, usually /etc/thsm")
    .option("--pin-source <file>", "of a client: file with its PIN (default: ask)")
    .option(
      "--recovery-out <file>",
      "of a client: write the recovery code there (default: show it)",
    )
    .option("--host <hosts...>", "of a server: names and addresses at which others reach it")
    .addHelpText(
      "after",
      `
Makes the identity key (it signs messages), the login to NATS (it signs nothing of ours) and a TLS key with a
certificate request. A client's identity key is encrypted under the PIN, and under a recovery code for the
day when the PIN is forgotten. Only NAME.public.toml leaves this host; read the fingerprint to whoever runs
thsm cluster create, over another way than the one that the file takes.

  thsm identity create --role node --name n1 --out /etc/thsm
  thsm identity create --role client --name alice --out /etc/thsm --pin-source /etc/knot/thsm.pin
  thsm identity create --role server --name nats-1 --host nats1.example.net --out /etc/nats`,
    )
    .action(async (flags: CreateFlags) => {
      const made = await createIdentity(flags);
      const code =
        made.recoveryCode === undefined
          ? ""
          : `
recovery code, shown this once; keep it away from this host: ${made.recoveryCode}`;
      const text = `public part: ${made.publicPart}\nfingerprint: ${made.fingerprint}${code}`;
      print(options(), made, text);
    });
  identity
    .command("show")
    .description("the fingerprint of public parts")
    .argument("<files...>", "NAME.public.toml")
    .addHelpText("after", "\n  thsm identity show n1.public.toml")
    .action(async (files: string[]) => {
      const shown = await Promise.all(
        files.map(async (file) => {
          const part = await readPart(file);
          return { role: part.role, name: part.name, fingerprint: fingerprintOf(part) };
        }),
      );
      const lines = shown.map(({ role, name, fingerprint }) => `${fingerprint}  ${role} ${name}`);
      print(options(), shown, lines.join("\n"));
    });
}

export interface CreatedIdentity {
  readonly publicPart: string;
  readonly fingerprint: string;
  /** Of a client, unless it was written to a file. */
  readonly recoveryCode?: string;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT`; nothing is left behind then */
export async function createIdentity(flags: CreateFlags): Promise<CreatedIdentity> {
  const { role, name, host: hosts, recoveryOut } = flags;
  if ((role === "server") !== (hosts !== undefined)) {
    throw new HsmError("ERR_INVALID_ARGUMENT", "--host is for servers, and they need it");
  }
  if (role !== "client" && (flags.pinSource ?? recoveryOut) !== undefined) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `only a client has a PIN: a ${role} must start without a person`,
    );
  }
  const protection = role === "client" ? await newProtection(flags) : undefined;
  const dir = resolve(flags.out);
  const publicPart = join(dir, `${name}.public.toml`);
  let fingerprint = "";
  await fillDirectory(dir, async () => {
    const part = await createMember({ dir, role, name, hosts, protection, tls: true });
    await writeFile(publicPart, renderPart(part));
    fingerprint = fingerprintOf(part);
    if (recoveryOut !== undefined && protection !== undefined) {
      await writeSecretFile(recoveryOut, `${protection.recoveryCode}\n`);
    }
  });
  const isShown = protection !== undefined && recoveryOut === undefined;
  return {
    publicPart,
    fingerprint,
    ...(isShown ? { recoveryCode: protection.recoveryCode } : {}),
  };
}

async function newProtection({ pinSource }: CreateFlags): Promise<Required<Protection>> {
  const pin = await readNewPin(
    pinSource,
    "a client's PIN is needed: --pin-source, or run this on a terminal",
  );
  requirePin(pin);
  return { pin, recoveryCode: newRecoveryCode() };
}
