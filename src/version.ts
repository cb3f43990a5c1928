/** @module Which version of the software this is. */
import { readFileSync } from "node:fs";
import { HsmError } from "./errors.js";

/** As package.json says it, which Node.js needs beside the built files anyway. */
export const softwareVersion: string = versionIn(
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")),
);

function versionIn(description: unknown): string {
  const isObject = typeof description === "object" && description !== null;
  if (isObject && "version" in description && typeof description.version === "string") {
    return description.version;
  }
  throw new HsmError("ERR_INVALID_CONFIG", "package.json names no version");
}
