/** @module Sizes as people write them: `256MiB`. */
import { InvalidArgumentError } from "commander";

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** @throws InvalidArgumentError for what is no size */
export function parseBytes(text: string): number {
  const [, digits, unit = "B"] = /^(\d{1,12})(B|KiB|MiB|GiB|TiB)?$/.exec(text) ?? [];
  const bytes = Number(digits) * 1024 ** units.findIndex((one) => one === unit);
  if (!Number.isSafeInteger(bytes) || bytes === 0) {
    throw new InvalidArgumentError("expected a size such as 256MiB or 2GiB");
  }
  return bytes;
}

/** In the largest unit that leaves a whole number. */
export function formatBytes(bytes: number): string {
  let power = 0;
  while (power < units.length - 1 && bytes % 1024 ** (power + 1) === 0) power++;
  return `${bytes / 1024 ** power} ${units[power]}`;
}
