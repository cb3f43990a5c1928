/** @module Where other people's programs are found. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HsmError } from "../errors.js";

const tools = fileURLToPath(new URL("../../../.tools/bin", import.meta.url));

/**
 * A program in .tools/bin, where bin/setup puts what it builds, on PATH, or where Debian puts
 * servers: outside the PATH of users other than root.
 */
export function findProgram(name: string): string | undefined {
  return [tools, ...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin"]
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/**
 * The server that `THSM_NATS_SERVER` names, else the one that `findProgram` finds.
 * @throws HsmError `ERR_INVALID_CONFIG` that says what to install
 */
export function findNatsServer(): string {
  const found = process.env["THSM_NATS_SERVER"] || findProgram("nats-server");
  if (found === undefined) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      "nats-server is missing: run bin/setup, or install the package nats-server",
    );
  }
  return found;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
