/** @module `thsm key …`: make, list, show and destroy keys. */
import { createPublicKey } from "node:crypto";
import { InvalidArgumentError, type Command } from "commander";
import {
  defaultPolicy,
  encodings,
  hashes,
  oneLine,
  type DestroyResult,
  type Encoding,
  type GenerateKeyOptions,
  type Hash,
  type KeyInfo,
  type KeygenProgress,
  type RateLimit,
} from "../client/index.js";
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
  readonly hash?: Hash[];
  readonly encoding?: Encoding[];
  readonly client?: string[];
  readonly maxInputs?: number;
  readonly rate?: RateLimit;
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
    .option("--encoding <name>", `only this encoding, again for more: ${all(encodings)}`, collect)
    .option("--hash <name>", `only this hash, again for more: ${all(hashes)}`, collect)
    .option("--client <name>", "only this client of the token, again for more", collect)
    .option("--max-inputs <n>", "most signatures in one request, 1 to 64", parseCount)
    .option("--rate <n/seconds>", "most signatures of each node, as 1000/3600", parseRate)
    .option("--proofs <when>", "share proofs: on-failure or always", parseProofs, "on-failure")
    .addHelpText(
      "after",
      `
Nodes enforce all of it by themselves, for the whole life of the key. SHA-1, opaque payloads and raw
blocks are off unless asked for. Each node counts --rate by itself: of n nodes with threshold k the
cluster makes n/k times as many signatures at most.

  thsm key generate --label zsk --hash sha256 --encoding pkcs1v15 --rate 10000/3600`,
    )
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
        print(
          options,
          keys.map(plain),
          rows.length > 0 ? rows.map(oneLine).join("\n") : "no active key",
        );
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
    .option("--wait [seconds]", "wait until every node has erased its share", parseCount)
    .addHelpText(
      "after",
      `
Takes effect at once. So few shares are left when n-k+1 nodes have erased theirs that the key can never
sign again; nodes that are away erase when they return, before they serve. Again, with the key's whole
id, it tells how far that is. Ends with 0 as soon as the destruction is on record.

  thsm key destroy old-zsk --wait 3600`,
    )
    .action(async (wanted: string, flags: { token?: string; wait?: number | true }) => {
      const options = program.opts<GlobalOptions>();
      await withClient(options, async (client) => {
        await login(options, client);
        // What is destroyed already is no key of any token, but still has an id.
        const isWhole = /^[0-9a-f]{32}$/.test(wanted);
        const keyId = isWhole ? wanted : (await chooseKey(client, flags.token, wanted)).keyId;
        const progress = showProgress();
        const waitMs = flags.wait === undefined ? {} : { waitMs: secondsOf(flags.wait) * 1000 };
        const onProgress = (so: DestroyResult): void => progress.update(describeEnd(so));
        let result;
        try {
          result = await client.destroyKey(keyId, { ...waitMs, onProgress });
        } catch (error) {
          progress.end("no key was destroyed");
          throw error;
        }
        progress.end(describeEnd(result));
        print(options, result, `key ${keyId} is destroyed; ${describeEnd(result)}`);
      });
    });
}

/** Without a number: for as long as it takes. */
function secondsOf(wait: number | true): number {
  return wait === true ? Infinity : wait;
}

function describeEnd({ erased, pending, threshold, beyondRecovery }: DestroyResult): string {
  if (pending.length === 0) return "every node has erased its share: it can never sign again";
  const needed = erased.length + pending.length - threshold + 1;
  return beyondRecovery
    ? `it can never sign again: ${erased.length} shares are erased; still to erase: ${pending.join(", ")}`
    : `${erased.length} of the ${needed} erasures that end it for ever; still to erase: ${pending.join(", ")}`;
}

function policyOf(flags: GenerateFlags): NonNullable<GenerateKeyOptions["policy"]> {
  const { allowOpaque, allowRaw, allowSha1, maxInputs, client, rate, proofs } = flags;
  const { encodings: padded, hashes: safe } = defaultPolicy;
  return {
    encodings: distinct([
      ...also(flags.decrypt, "decrypt" as const),
      // Who has a key for decryption asks for raw, or for nothing else.
      ...(flags.encoding ?? (flags.decrypt === true && allowRaw !== true ? [] : padded)),
      ...also(allowOpaque, "pkcs1v15-opaque" as const),
      ...also(allowRaw, "raw" as const),
    ]),
    hashes: distinct([...also(allowSha1, "sha1" as const), ...(flags.hash ?? safe)]),
    proofs,
    ...(maxInputs === undefined ? {} : { maxInputs }),
    ...(client === undefined ? {} : { clients: distinct(client) }),
    ...(rate === undefined ? {} : { rate }),
  };
}

function also<T>(isWanted: boolean | undefined, one: T): T[] {
  return isWanted === true ? [one] : [];
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function all(names: readonly string[]): string {
  return names.join(", ");
}

function collect(name: string, before: readonly string[] = []): string[] {
  return [...before, name];
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("expected a positive number");
  return Number(text);
}

function parseRate(text: string): RateLimit {
  const [signatures, perSeconds, more] = text.split("/");
  if (perSeconds === undefined || more !== undefined) {
    throw new InvalidArgumentError("expected signatures and seconds, as 1000/3600");
  }
  return { signatures: parseCount(signatures ?? ""), perSeconds: parseCount(perSeconds) };
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
    ...(key.policy.clients === undefined ? {} : { clients: key.policy.clients }),
    ...(key.policy.rate === undefined
      ? {}
      : { rate: `${key.policy.rate.signatures}/${key.policy.rate.perSeconds}` }),
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
