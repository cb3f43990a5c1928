/** @module Tries a PIN in a process of its own: `node pin-child.js FILE LIMIT PIN`. */
import { IdentityLock } from "../../src/client/identity-lock.js";
import { describeError } from "../../src/errors.js";

const [, , identityFile = "", limit = "", pin = ""] = process.argv;
const lock = await IdentityLock.of({ identityFile, pinAttemptsMax: Number(limit) });
process.stdout.write("trying\n");
await lock.open(pin).then(
  () => process.stdout.write("open\n"),
  (error: unknown) => process.stdout.write(`${describeError(error)}\n`),
);
