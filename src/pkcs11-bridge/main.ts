#!/usr/bin/env node
/** @module The command `thsm-pkcs11d`: the daemon behind libthsm-pkcs11.so. */
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { connect } from "../client/index.js";
import { describeError } from "../errors.js";
import { createLogger } from "../log.js";
import { checkDaemon, type Finding } from "./check.js";
import { readConfig } from "./config.js";
import { runDaemon } from "./daemon.js";
import { inheritedSocket } from "./service-manager.js";

interface Options {
  readonly config: string;
  readonly check?: true;
  readonly json?: true;
}

const help = `
The configuration, with what is needed and the defaults of the rest:
  version = 1
  client = "client.toml"              the client's configuration, relative to this file
  socket = "/run/thsm/pkcs11d.sock"   as in the modules' /etc/thsm/pkcs11.conf
  socketMode = "0600"                 "0660": everybody in the socket's group
  peers = []                          users beside root and the daemon's; "modes": as the socket's modes say
  maxConnections = 512                one for each thread that signs, all applications together
  maxConnectionsPerApplication = 128  of one program
  maxConnectionsPerUser = 256         of all programs of one user; the last quarter is for newcomers
  maxCallsPerApplication = 64         of one program at a time; what is beyond waits
  maxCallsPerUser = 128               of all programs of one user at a time
  allowSha1 = false                   keys that applications generate sign SHA-1 digests too
  logLevel = "info"                   debug, info, warn, error, silent

Started by systemd through a socket unit, it serves that socket; path and mode are then the unit's.
Logs JSON lines to stderr. SIGTERM and SIGINT end it when the calls under way are done.
Exit status: 0 stopped, or nothing wrong was found; 1 wrong usage; 2 an error, told on stderr with
its code, or --check found something wrong.

Example:
  thsm-pkcs11d --check && systemctl enable --now thsm-pkcs11d.socket
`;

async function serve(path: string): Promise<void> {
  const config = await readConfig(path);
  const inherited = inheritedSocket();
  const clientConfig = resolve(dirname(path), config.client);
  const log = createLogger("thsm-pkcs11d", config.logLevel);
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  await runDaemon({
    socketPath: config.socket,
    socketMode: Number.parseInt(config.socketMode, 8),
    peers: config.peers,
    maxConnections: config.maxConnections,
    maxConnectionsPerApplication: config.maxConnectionsPerApplication,
    maxConnectionsPerUser: config.maxConnectionsPerUser,
    maxCallsPerApplication: config.maxCallsPerApplication,
    maxCallsPerUser: config.maxCallsPerUser,
    allowSha1: config.allowSha1,
    ...(inherited === undefined ? {} : { inherited }),
    log,
    signal: stop.signal,
    connect: () => connect({ configFile: clientConfig, log }),
  });
}

async function check({ config, json }: Options): Promise<void> {
  const findings: Finding[] = [];
  for await (const finding of checkDaemon(config)) {
    findings.push(finding);
    const { what, isGood, text } = finding;
    const line = `${isGood ? "good" : "BAD "}  ${what.padEnd(14)}${text}\n`;
    if (json !== true) process.stdout.write(line);
  }
  if (json === true) process.stdout.write(`${JSON.stringify(findings)}\n`);
  if (!findings.every(({ isGood }) => isGood)) process.exitCode = 2;
}

const program = new Command("thsm-pkcs11d")
  .description("serves PKCS#11 modules on this host")
  .option("--config <file>", "configuration, TOML", "/etc/thsm/pkcs11d.toml")
  .option("--check", "look at configuration, files, socket, NATS, tokens and keys, and end")
  .option("--json", "what --check finds, as JSON")
  .addHelpText("after", help)
  .action(async (options: Options) => {
    try {
      await (options.check ? check(options) : serve(options.config));
    } catch (error) {
      process.stderr.write(`thsm-pkcs11d: ${describeError(error)}\n`);
      process.exitCode = 2;
    }
  });
await program.parseAsync();
