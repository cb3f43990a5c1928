/** @module A rejection that nobody handles is a defect, in whatever test it happens. */
import { format } from "node:util";

const seen: unknown[] = [];
process.on("unhandledRejection", (reason) => seen.push(reason));

// Imported while mocha loads its files, this belongs to the root suite.
after("no rejection was left unhandled", () => {
  if (seen.length > 0) throw new Error(seen.map((reason) => format("%s", reason)).join("\n"));
});
