#!/usr/bin/env -S node --heap-growing-percent=100
/**
 * @module The `thsm` command. Exit codes: 0 done, 1 wrong usage, 2 failed, 3 the audit found
 * something.
 *
 * An audit keeps little and makes much garbage: V8 by itself lets four times of what is kept gather before it
 * collects, and with twice an audit occupies 60 MB less and is no slower.
 */
import { inspect } from "node:util";
import { Command } from "commander";
import { oneLine } from "../client/index.js";
import { describeError } from "../errors.js";
import { addAuditCommands } from "./audit.js";
import { addClusterCommands } from "./cluster.js";
import { addDevCommands } from "./dev/commands.js";
import { addIdentityCommands } from "./identity.js";
import { addInitCommand } from "./init.js";
import { addKeyCommands } from "./key.js";
import { addPinCommands } from "./pin.js";
import { addNodeCommands } from "./node.js";
import { addProvisionCommand } from "./provision.js";
import { addSignCommand } from "./sign.js";
import { softwareVersion } from "../version.js";
import { addStatusCommand } from "./status.js";

const program = new Command("thsm")
  .version(softwareVersion)
  .description("Threshold HSM: RSA keys split over n nodes, any k of which sign")
  .option("--config <file>", "client.toml (default: $THSM_CONFIG, then /etc/thsm/client.toml)")
  .option("--json", "print results as JSON")
  .option("--debug", "log what happens, and show stacks of errors")
  .showHelpAfterError("(thsm --help shows how)")
  .addHelpText(
    "after",
    `
A first signature:
  eval "$(thsm dev up --detach --dir ./dev)"      five nodes, NATS and the PKCS#11 daemon
  thsm key generate --label demo                  about 15 s for 2048 bits
  thsm key show demo --pem > pub.pem
  thsm sign --key demo --hash sha256 -o file.sig file
  openssl dgst -sha256 -verify pub.pem -signature file.sig file
  thsm audit verify                               who asked, who contributed, does it all fit
  thsm dev down --dir ./dev`,
  );
addKeyCommands(program);
addSignCommand(program);
addAuditCommands(program);
addDevCommands(program);
addIdentityCommands(program);
addClusterCommands(program);
addInitCommand(program);
addProvisionCommand(program);
addNodeCommands(program);
addStatusCommand(program);
addPinCommands(program);

try {
  await program.parseAsync();
} catch (error) {
  // Some libraries' errors are several lines.
  const lines = describeError(error).split("\n").map(oneLine);
  process.stderr.write(`thsm: ${lines.join("\n")}\n`);
  if (program.opts<{ debug?: boolean }>().debug === true && error instanceof Error) {
    process.stderr.write(`${inspect(error)}\n`);
  }
  process.exitCode = 2;
}
