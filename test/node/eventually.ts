/** @module Waiting for what takes its time. */
import { setTimeout as sleep } from "node:timers/promises";
import { HsmError } from "../../src/errors.js";

/** Polls until `condition` gives something; fails after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  condition: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 8000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await condition();
    if (result !== undefined && result !== false) return result;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(10);
  }
}

/** The error of the given class that `action` rejects with; fails when it does not. */
export async function rejection<E extends Error>(
  action: Promise<unknown>,
  type: abstract new (...args: never[]) => E,
): Promise<E> {
  try {
    await action;
  } catch (error) {
    if (error instanceof type) return error;
    throw error;
  }
  throw new Error(`expected a ${type.name}`);
}

/** The code of the HsmError that `action` rejects with. */
export async function codeOf(action: Promise<unknown>): Promise<string> {
  return (await rejection(action, HsmError)).code;
}
