/** @module How many nodes, and how many of them sign: the flags of `thsm init` and `thsm dev up`. */
import { InvalidArgumentError, type Command } from "commander";
import { HsmError } from "../errors.js";

export interface PartiesFlags {
  readonly parties: number;
  readonly threshold?: number;
}

export function withParties(command: Command): Command {
  return command
    .option("--parties <n>", "how many nodes", parseCount, 5)
    .option("--threshold <k>", "how many of them sign (default: a majority)", parseCount);
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` when not more than half of the parties sign */
export function chooseThreshold({ parties, threshold }: PartiesFlags): number {
  const chosen = threshold ?? Math.floor(parties / 2) + 1;
  if (chosen * 2 > parties && chosen <= parties) return chosen;
  throw new HsmError(
    "ERR_INVALID_ARGUMENT",
    `threshold ${chosen} of ${parties}: it must be more than half of the parties, and at most all`,
  );
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 2 || count > 32) {
    throw new InvalidArgumentError("expected a number from 2 to 32");
  }
  return count;
}
