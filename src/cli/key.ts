/** @module `thsm key …`: make, list, show and destroy keys. */
import { createPublicKey } from "node:crypto";
import { InvalidArgumentError, type Command } from "commander";
import type { GenerateKeyOptions, KeyInfo, KeygenProgress } from "../client/index.js";
import { fromHex, toBase64url, toHex } from "../identity/encoding.js";
import { chooseKey, chooseToken, login, print, withClient, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";

interface GenerateFlags {
  readonly label: string;
  readonly token?: string;
  readonly bits: number;
  readonly id?: Uint8Array;
  readonly allowSha1?: boolean;
  readonly allowOpaque?: boolean;
  readonly allowRaw?: boolean;
  readonly decrypt?: boolean;
  readonly proofs: "on-failure" | "always";
}

export function addKeyCommands(program: Command): void {
  const key = program.command("key").description("make, list, show and destroy keys");

  key
    .command("generate")
    .description("deal a new key to the nodes; the whole private key exists only while it is dealt")
    .requiredOption("--label <label>", "a name for people")
    .option("--token <name>", "which token the key belongs to (default: the only one)")
    .option("--bits <n>", "modulus size: 1024, 2048, 3072 or 4096", parseBits, 2048)
    .option("--id <hex>", "PKCS#11's CKA_ID (default: 20 random bytes)", parseHex)
    .option("--allow-sha1", "let the nodes sign SHA-1 digests with this key")
    .option("--allow-opaque", "let the nodes pad and sign bytes that are no DigestInfo")
    .option("--allow-raw", "let the nodes sign whole blocks without padding (dangerous)")
    .option(
      "--decrypt",
      "a key for decryption, and for nothing else unless --allow-raw is given too",
    )
    .option("--proofs <when>", "share proofs: on-failure or always", parseProofs, "on-failure")
    .action(async (flags: GenerateFlags) => {
      const options = program.opts<GlobalOptions>();
      await withClient(options, async (client) => {
        await login(options, client);
        const interrupted = new AbortController();
        const interrupt = (): void => interrupted.abort();
        process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
        const progress = showProgress();
        try {
          const made = await client.generateKey({
            token: chooseToken(client, flags.token),
            label: flags.label,
            modulusBits: flags.bits,
            ...(flags.id === undefined ? {} : { id: flags.id }),
            policy: policyOf(flags),
            signal: interrupted.signal,
            onProgress: (step) => progress.update(describeProgress(step)),
          });
          progress.end(`key ${made.keyId} is active`);
          print(options, plain(made), made.keyId);
        } catch (error) {
          progress.end("no key was made");
          throw error;
        }
      });
    });

  key
    .command("list")
    .description("the active keys of this client's tokens")
    .option("--token <name>", "only this token's")
    .action(async ({ token }: { token?: string }) => {
      const options = program.opts<GlobalOptions>();
      await withClient(options, async (client) => {
        const tokens = token === undefined ? client.tokens : [token];
        const keys = (await Promise.all(tokens.map((name) => client.keys(name)))).flat();
        const rows = keys.map(
          (one) =>
            `${one.keyId}  ${one.token}  rsa${one.modulusBits}  ${one.threshold}-of-${one.parties.length}  ${one.createdAt}  ${one.label}`,
        );
        print(options, keys.map(plain), rows.length > 0 ? rows.join("\n") : "no active key");
      });
    });

  key
    .command("show")
    .description("a key's public record")
    .argument("<key>", "label, id, or the beginning of an id")
    .option("--token <name>", "look only in this token")
    .option("--pem", "print only the public key (SubjectPublicKeyInfo)")
    .action(async (wanted: string, { token, pem }: { token?: string; pem?: boolean }) => {
      const options = program.opts<GlobalOptions>();
      await withClient(options, async (client) => {
        const found = await chooseKey(client, token, wanted);
        if (pem === true) {
          print(options, { keyId: found.keyId, pem: pemOf(found) }, pemOf(found).trimEnd());
        } else {
          const fields = Object.entries(plain(found));
          const lines = fields.map(([name, value]) => `${name.padEnd(16)}${shown(value)}`);
          print(options, plain(found), lines.join("\n"));
        }
      });
    });

  key
    .command("destroy")
    .description("end a key for ever: it signs no more, and every node erases its share")
    .argument("<key>", "label, id, or the beginning of an id")
    .option("--token <name>", "look only in this token")
    .action(async (wanted: string, { token }: { token?: string }) => {
      const options = program.opts<GlobalOptions>();
      await withClient(options, async (client) => {
        await login(options, client);
        const { keyId } = await chooseKey(client, token, wanted);
        const result = await client.destroyKey(keyId);
        const pending =
          result.pending.length === 0
            ? "every node has erased its share"
            : `still to erase: ${result.pending.join(", ")}${result.beyondRecovery ? " (too few shares are left to sign)" : ""}`;
        print(options, result, `key ${keyId} is destroyed; ${pending}`);
      });
    });
}

function policyOf(flags: GenerateFlags): NonNullable<GenerateKeyOptions["policy"]> {
  return {
    encodings: [
      ...(flags.decrypt === true ? (["decrypt"] as const) : []),
      ...(flags.decrypt === true && flags.allowRaw !== true ? [] : (["pkcs1v15", "pss"] as const)),
      ...(flags.allowOpaque === true ? (["pkcs1v15-opaque"] as const) : []),
      ...(flags.allowRaw === true ? (["raw"] as const) : []),
    ],
    hashes: [
      ...(flags.allowSha1 === true ? (["sha1"] as const) : []),
      "sha224",
      "sha256",
      "sha384",
      "sha512",
    ],
    proofs: flags.proofs,
  };
}

function describeProgress({ step, done, total }: KeygenProgress): string {
  const count = total === undefined ? "" : ` ${done} of ${total}`;
  const texts = {
    primes: `searching for safe primes,${count} found`,
    propose: "publishing the public record",
    ready: `nodes ready:${count}`,
    deal: "sealing the key shares",
    accepted: `nodes accepted:${count}`,
    test: "making a test signature",
    active: "active",
  };
  return texts[step];
}

function plain(key: KeyInfo): Record<string, unknown> {
  return {
    keyId: key.keyId,
    token: key.token,
    label: key.label,
    id: toHex(key.id),
    algorithm: key.algorithm,
    modulusBits: key.modulusBits,
    threshold: key.threshold,
    parties: key.parties,
    state: key.state,
    createdAt: key.createdAt,
    encodings: key.policy.encodings,
    hashes: key.policy.hashes,
    maxInputs: key.policy.maxInputs,
    proofs: key.policy.proofs,
    modulus: toHex(key.modulus),
    publicExponent: toHex(key.publicExponent),
  };
}

function shown(value: unknown): string {
  return Array.isArray(value) ? value.join(" ") : String(value);
}

function pemOf(key: KeyInfo): string {
  const jwk = { kty: "RSA", n: toBase64url(key.modulus), e: toBase64url(key.publicExponent) };
  return createPublicKey({ key: jwk, format: "jwk" })
    .export({ type: "spki", format: "pem" })
    .toString();
}

function parseBits(text: string): number {
  if (!["1024", "2048", "3072", "4096"].includes(text)) {
    throw new InvalidArgumentError("expected 1024, 2048, 3072 or 4096");
  }
  return Number(text);
}

function parseHex(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}){1,255}$/i.test(text)) {
    throw new InvalidArgumentError("expected 1 to 255 bytes in hex");
  }
  return fromHex(text.toLowerCase(), "id");
}

function parseProofs(text: string): string {
  if (text !== "on-failure" && text !== "always") {
    throw new InvalidArgumentError("expected on-failure or always");
  }
  return text;
}
