/** @module A rejection that nobody handles is a defect, in whatever test it happens. */
import { format } from "node:util";

const seen: unknown[] = [];
process.on("unhandledRejection", (reason) => seen.push(reason));

/** Called while mocha loads its files, so that the hook belongs to the root suite. */
export function failOnUnhandledRejections(): void {
  after("no rejection was left unhandled", () => {
    if (seen.length > 0) throw new Error(seen.map((reason) => format("%s", reason)).join("\n"));
  });
}
