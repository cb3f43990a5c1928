/**
 * @module The end of a key: `destroyed` takes effect when it is stored. Each node erases its share
 * and says so; n−k+1 receipts are enough to know that no quorum is left.
 */
import { describeError, HsmError } from "../errors.js";
import { signMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { CallOptions, DestroyResult } from "./api.js";
import type { Bus } from "./bus.js";
import { within } from "./within.js";

const receiptsMs = 5000;
const publishMs = 15_000;

/**
 * Publishes the destruction (once) and waits a while for receipts; absent nodes erase later.
 * Ends in a result once the destruction is on record, even when the caller gives up meanwhile.
 * @throws HsmError `ERR_KEY_NOT_ACTIVE` for a key that is being dealt; what publishing throws
 */
export async function destroyKey(
  bus: Bus,
  client: string,
  record: KeyRecord,
  { signal, timeoutMs }: CallOptions,
): Promise<DestroyResult> {
  const deadlineMs = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  const left = (): number => Math.max(1, (deadlineMs ?? Infinity) - Date.now());
  const { keyId, state } = record;
  if (state === "active") {
    const subject = formatSubject({ kind: "key", key: keyId });
    const message = signMessage(bus.identity.require(), streamNames.keys, subject, {
      version: formatVersion,
      type: "destroyed",
      key: keyId,
      client,
      proposal: record.proposalHash,
      time: new Date().toISOString(),
    });
    await bus.publisher.publish(message, {
      timeoutMs: Math.min(publishMs, left()),
      ...(signal === undefined ? {} : { signal }),
    });
  } else if (state !== "destroyed") {
    throw new HsmError("ERR_KEY_NOT_ACTIVE", `key ${keyId} is ${state}`);
  }
  const limit = AbortSignal.timeout(Math.min(receiptsMs, left()));
  try {
    await within(bus.keys.catchUp(), {
      deadlineMs: Date.now() + left(),
      signal,
      late: () => new HsmError("ERR_DEADLINE", "the key directory is not up to date"),
    });
    await bus.keys.until(
      keyId,
      isOver,
      signal === undefined ? limit : AbortSignal.any([limit, signal]),
    );
  } catch (error) {
    // Receipts may come later; the destruction itself is on record.
    bus.log.info({ key: keyId, reason: describeError(error) }, "not every node has erased yet");
  }
  return resultOf(bus.keys.record(keyId) ?? record);
}

function isOver(record: KeyRecord | undefined): KeyRecord | undefined {
  if (record === undefined) return undefined;
  return record.erased.size >= record.proposal.parties.length ? record : undefined;
}

function resultOf({ keyId, proposal, erased, holders }: KeyRecord): DestroyResult {
  const { parties, threshold } = proposal;
  const has = (index: number): boolean => erased.has(index + 1);
  const left = holders.filter((party) => !erased.has(party)).length;
  return {
    keyId,
    erased: parties.filter((_, index) => has(index)),
    pending: parties.filter((_, index) => !has(index)),
    beyondRecovery: left < threshold,
  };
}
