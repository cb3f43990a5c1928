/** @module Waiting, on a machine that may be busy with other things. */
import { setTimeout as sleep } from "node:timers/promises";

/** Polls until the condition holds; fails after a minute. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(20);
  }
}
