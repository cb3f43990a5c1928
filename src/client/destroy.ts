/**
 * @module The end of a key: `destroyed` takes effect when it is stored. Each node erases its share
 * and says so; n−k+1 receipts are enough to know that no quorum is left.
 */
import { describeError, HsmError } from "../errors.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { DestroyOptions, DestroyResult } from "./api.js";
import type { Bus } from "./bus.js";
import { decide } from "./key-decisions.js";
import { within } from "./within.js";

const receiptsMs = 5000;
const publishMs = 15_000;
/** What a timer can wait at most. */
const longestMs = 2 ** 31 - 1;

/**
 * Publishes the destruction (once) and waits a while for receipts; absent nodes erase later.
 * Ends in a result once the destruction is on record, even when the caller gives up meanwhile.
 * @throws HsmError `ERR_KEY_NOT_ACTIVE` for a key that is being dealt; what publishing throws
 */
export async function destroyKey(
  bus: Bus,
  client: string,
  record: KeyRecord,
  { signal, timeoutMs, waitMs = receiptsMs, onProgress }: DestroyOptions,
): Promise<DestroyResult> {
  const deadlineMs = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs;
  const left = (): number => Math.max(1, deadlineMs - Date.now());
  const { keyId, state } = record;
  if (state === "active") {
    const limits = { timeoutMs: Math.min(publishMs, left()) };
    const options = signal === undefined ? limits : { ...limits, signal };
    await decide(bus, client, record, { type: "destroyed" }, options);
  } else if (state !== "destroyed") {
    throw new HsmError("ERR_KEY_NOT_ACTIVE", `key ${keyId} is ${state}`);
  }
  const limit = AbortSignal.timeout(Math.ceil(Math.min(waitMs, left(), longestMs)));
  let told = -1;
  const isOver = (one: KeyRecord | undefined): true | undefined => {
    if (one?.state !== "destroyed") return undefined;
    if (one.erased.size > told) onProgress?.(resultOf(one));
    told = one.erased.size;
    return told >= one.proposal.parties.length ? true : undefined;
  };
  try {
    await within(bus.keys.catchUp(), {
      deadlineMs: Date.now() + left(),
      signal,
      late: () => new HsmError("ERR_DEADLINE", "the key directory is not up to date"),
    });
    const either = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    await bus.keys.until(keyId, isOver, either);
  } catch (error) {
    // Receipts may come later; the destruction itself is on record.
    bus.log.info({ key: keyId, reason: describeError(error) }, "not every node has erased yet");
  }
  return resultOf(bus.keys.record(keyId) ?? record);
}

/** Every party may hold a share until it says that it has none, whether it signs or not. */
function resultOf({ keyId, proposal, erased }: KeyRecord): DestroyResult {
  const { parties, threshold } = proposal;
  const has = (index: number): boolean => erased.has(index + 1);
  return {
    keyId,
    threshold,
    erased: parties.filter((_, index) => has(index)),
    pending: parties.filter((_, index) => !has(index)),
    beyondRecovery: parties.length - erased.size < threshold,
  };
}
