/** @module `thsm sign`: a raw signature over a file. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { Option, type Command } from "commander";
import { hashes, type Hash } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import { toHex } from "../identity/encoding.js";
import { chooseKey, login, print, withClient, type GlobalOptions } from "./context.js";

interface SignFlags {
  readonly key: string;
  readonly token?: string;
  readonly hash: Hash;
  readonly pss?: boolean;
  readonly output?: string;
}

export function addSignCommand(program: Command): void {
  program
    .command("sign")
    .description("sign a file: the raw signature, as openssl dgst -verify takes it")
    .argument("<file>", "what to sign; - reads standard input")
    .requiredOption("--key <key>", "label, id, or the beginning of an id")
    .option("--token <name>", "look for the key only in this token")
    .addOption(
      new Option("--hash <name>", "digest of the file").choices([...hashes]).default("sha256"),
    )
    .option("--pss", "RSASSA-PSS instead of PKCS#1 v1.5")
    .option("-o, --output <file>", "write the signature here instead of standard output")
    .action(async (file: string, flags: SignFlags) => {
      const options = program.opts<GlobalOptions>();
      const digest = await digestOf(file, flags.hash);
      await withClient(options, async (client) => {
        await login(options, client);
        const key = await chooseKey(client, flags.token, flags.key);
        const session = await client.openSession(key.token, `thsm sign ${process.pid}`);
        let signature;
        try {
          signature = await session.sign({
            keyId: key.keyId,
            encoding: flags.pss === true ? "pss" : "pkcs1v15",
            hash: flags.hash,
            data: digest,
          });
        } finally {
          await session.close();
        }
        if (flags.output !== undefined) await writeFile(flags.output, signature);
        if (options.json === true) {
          const { keyId } = key;
          print(options, { keyId, hash: flags.hash, signature: toHex(signature) }, "");
        } else if (flags.output === undefined) {
          process.stdout.write(signature);
        }
      });
    });
}

async function digestOf(file: string, hash: Hash): Promise<Uint8Array> {
  const digest = createHash(hash);
  try {
    await pipeline(file === "-" ? process.stdin : createReadStream(file), digest);
  } catch (cause) {
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot read ${file}: ${describeError(cause)}`, {
      cause,
    });
  }
  return digest.digest();
}
