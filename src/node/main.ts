#!/usr/bin/env -S node --max-semi-space-size=2
/**
 * @module The command `thsm-node`: one node of a cluster, from its configuration to its last breath.
 * A node makes much garbage and keeps little: with V8's default of 16 MiB for what is young it
 * occupies 20 MB more and is no faster.
 */
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describeError, HsmError } from "../errors.js";
import { readCluster, type Cluster } from "../identity/cluster.js";
import { readIdentityFile } from "../identity/identity-file.js";
import type { IdentityKey } from "../identity/identity-key.js";
import { lockDirectory } from "../identity/process-lock.js";
import { requireSecretFiles } from "../identity/secret-file.js";
import { createLogger } from "../log.js";
import { selfCheck } from "../scheme/index.js";
import { readNodeConfig, type NodeConfig } from "./config.js";
import { acceptHistory } from "./history-guard.js";
import { verifyJournal } from "./journal.js";
import { KeyStore } from "./key-store.js";
import { startNode } from "./service.js";

const help = `thsm-node: a signer of Threshold HSM. Holds one share of each key and signs with it.

usage: thsm-node --config FILE [--check | --accept-history]

  --config FILE  node.toml; paths in it are relative to it:
                   version = 1
                   name = "n1"                      as in cluster.toml
                   cluster = "cluster.toml"         who is who; the same on every machine
                   identityFile = "n1.identity"     made by: thsm identity create
                   loginFile = "n1.nk"              NKey seed for NATS
                   dataDir = "data"                 journal and key shares; never copy it to a second machine
                 and, where the defaults do not fit:
                   workers = 1                      signing threads, at most one a core
                   tlsCert, tlsKey                  for NATS servers with TLS
                   logLevel = "info"                debug, info, warn, error, silent
                   clockToleranceMs = 30000         how far clocks may be apart
                   maxRequestLifetimeMs = 120000    how far ahead a request may expire
  --check        checks files and the whole journal, every signature of it, and ends
  --accept-history
                 forgets what this node has seen of the streams, and ends. For a node that refuses with
                 ERR_AUDIT_MISMATCH although the streams are as you want them; stop it first
                 (docs/operations.md, When history was changed)
                   thsm-node --config /etc/thsm/node.toml --accept-history
  --help         this text

Runs until SIGTERM or SIGINT, then finishes what it has begun. Logs JSON lines to stderr.
exit status: 0 stopped or checked, 1 wrong usage, 2 an error, told on stderr with its code.
`;

interface Loaded {
  readonly config: NodeConfig;
  readonly cluster: Cluster;
  readonly key: IdentityKey;
}

// Whatever was not foreseen ends the process, which is safe at any instant.
process.on("uncaughtException", (error) => process.exit(report(error)));
// Not by itself: an attempt to connect may still be under way.
process.exit(await main());

async function main(): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        config: { type: "string" },
        check: { type: "boolean", default: false },
        "accept-history": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    return usage(describeError(error));
  }
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (values.config === undefined) return usage("--config FILE is missing");
  try {
    const loaded = await load(values.config);
    if (values["accept-history"]) await accept(loaded);
    else await (values.check ? check(loaded) : run(loaded));
    return 0;
  } catch (error) {
    return report(error);
  }
}

async function load(path: string): Promise<Loaded> {
  const config = await readNodeConfig(path);
  const cluster = await readCluster(config.cluster);
  const member = cluster.find("node", config.name);
  if (member === undefined) {
    throw new HsmError("ERR_INVALID_CONFIG", `${config.cluster}: no node is named ${config.name}`);
  }
  const key = (await readIdentityFile(config.identityFile)).openUnprotected();
  if (key.publicKey.text !== member.identity.text) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `${config.identityFile} is not the identity that ${config.cluster} names for ${config.name}`,
    );
  }
  return { config, cluster, key };
}

async function check({ config, cluster, key }: Loaded): Promise<void> {
  const { loginFile, tls, dataDir } = config;
  await requireSecretFiles([loginFile, ...(tls === undefined ? [] : [tls.keyFile])]);
  await KeyStore.check(dataDir);
  const messages = await verifyJournal(join(dataDir, "journal"), key, cluster);
  process.stdout.write(
    `${config.name}: configuration good, journal of ${messages} messages good\n`,
  );
}

async function accept({ config }: Loaded): Promise<void> {
  // A node that runs would write down again what it has seen.
  await lockDirectory(config.dataDir);
  await acceptHistory(config.dataDir);
  process.stdout.write(`${config.name}: the next start takes the streams as they are\n`);
}

async function run({ config, cluster, key }: Loaded): Promise<void> {
  const log = createLogger("thsm-node", config.logLevel).child({ node: config.name });
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  await lockDirectory(config.dataDir);
  if (!selfCheck().openssl) {
    log.warn({}, "OpenSSL cannot exponentiate here: signing is slow and not in constant time");
  }
  const ending = new AbortController();
  const { signal } = ending;
  const failures: HsmError[] = [];
  process.once("SIGTERM", () => ending.abort());
  process.once("SIGINT", () => ending.abort());
  log.info({ dataDir: config.dataDir }, "starting");
  try {
    const onFailure = (error: HsmError): void => {
      failures.push(error);
      ending.abort();
    };
    const node = await startNode({ config, cluster, key, log, signal, onFailure });
    if (!signal.aborted) await once(signal, "abort");
    log.info({}, "stopping");
    await node.stop();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  const [failure] = failures;
  if (failure !== undefined) throw failure;
}

function report(error: unknown): number {
  const code = error instanceof HsmError ? "" : " (ERR_INTERNAL)";
  process.stderr.write(`thsm-node: ${describeError(error)}${code}\n`);
  return 2;
}

function usage(problem: string): number {
  process.stderr.write(`thsm-node: ${problem}\n\n${help}`);
  return 1;
}
