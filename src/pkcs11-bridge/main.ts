#!/usr/bin/env node
/**
 * @module `thsm-pkcs11d --config FILE [--check]`: the daemon behind libthsm-pkcs11.so. Logs to
 * stderr; exits 0 after SIGTERM or SIGINT, 1 on wrong usage, 2 on our errors.
 */
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { connect } from "../client/index.js";
import { describeError } from "../errors.js";
import { createLogger } from "../log.js";
import { readConfig } from "./config.js";
import { runDaemon } from "./daemon.js";

interface Options {
  readonly config: string;
  readonly check?: true;
}

async function main({ config: path, check }: Options): Promise<void> {
  const config = await readConfig(path);
  if (check) return;
  const clientConfig = resolve(dirname(path), config.client);
  const log = createLogger("thsm-pkcs11d", config.logLevel);
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  await runDaemon({
    socketPath: config.socket,
    socketMode: Number.parseInt(config.socketMode, 8),
    maxConnections: config.maxConnections,
    log,
    signal: stop.signal,
    connect: () => connect({ configFile: clientConfig, log }),
  });
}

const program = new Command("thsm-pkcs11d")
  .description("serves PKCS#11 modules on this host")
  .requiredOption("--config <file>", "configuration, TOML")
  .option("--check", "read the configuration, say what is wrong with it, and end")
  .action(async (options: Options) => {
    try {
      await main(options);
    } catch (error) {
      process.stderr.write(`thsm-pkcs11d: ${describeError(error)}\n`);
      process.exitCode = 2;
    }
  });
await program.parseAsync();
