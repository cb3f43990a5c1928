/** @module Values of flags that several commands take. */
import { InvalidArgumentError } from "commander";
import { memberName } from "../identity/names.js";

export function parseName(text: string): string {
  if (!memberName.test(text)) {
    throw new InvalidArgumentError("expected 1 to 64 letters, digits, _ and -");
  }
  return text;
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port > 0 && port < 65536) return port;
  throw new InvalidArgumentError("expected a port, 1 to 65535");
}
