/** @module The dealer's wait for its nodes: seals to every `ready` as it comes, until enough accepted. */
import { HsmError } from "../errors.js";
import type { KeyRecord } from "../streams/key-life.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import type { KeygenProgress } from "./api.js";
import type { Bus } from "./bus.js";
import type { Dealer } from "./dealer.js";
import { publishSigned } from "./key-decisions.js";

export interface EnrollmentContext {
  readonly bus: Bus;
  readonly dealer: Pick<Dealer, "seal">;
  /** How many parties must accept. */
  readonly minimum: number;
  /** How long they have for it. */
  readonly enrollmentMs: number;
}

/**
 * Returns the parties that accepted, ascending. A restarted node sends a new one-time key, and gets
 * its share again.
 * @throws HsmError `ERR_KEY_ABANDONED` when too few accept in time, `ERR_ABORTED`, `ERR_DEADLINE`,
 * and what publishing throws
 */
export async function sealAndAwait(
  context: EnrollmentContext,
  keyId: string,
  signal: AbortSignal,
  tell: (progress: KeygenProgress) => void,
): Promise<number[]> {
  const { bus, minimum, enrollmentMs } = context;
  const sealedTo = new Set<string>();
  const late = AbortSignal.timeout(enrollmentMs);
  const either = AbortSignal.any([signal, late]);
  for (;;) {
    let record: KeyRecord;
    try {
      record = await bus.keys.until(
        keyId,
        (one) => (one !== undefined && isNews(one, sealedTo, minimum) ? one : undefined),
        either,
      );
    } catch (error) {
      const known = bus.keys.record(keyId);
      if (!late.aborted || known === undefined) throw error;
      if (known.accepted.size >= minimum) return ascending(known.accepted);
      throw absence(known, minimum, enrollmentMs);
    }
    const { accepted, ready, proposal } = record;
    const total = proposal.parties.length;
    tell({ step: "ready", done: ready.size, total });
    for (const { party, sealingKey } of ready.values()) {
      if (sealedTo.has(sealingKey)) continue;
      sealedTo.add(sealingKey);
      if (!accepted.has(party)) await seal(context, record, party, sealingKey, signal);
    }
    tell({ step: "accepted", done: accepted.size, total });
    if (isComplete(record)) return ascending(accepted);
  }
}

/** @throws HsmError `ERR_KEY_ABANDONED`: somebody else may end a dealing, another process of this client */
export function requireProposed(record: KeyRecord | undefined): void {
  if (record === undefined || record.state === "proposed") return;
  throw new HsmError("ERR_KEY_ABANDONED", `the key was ${record.state} meanwhile`);
}

async function seal(
  { bus, dealer }: EnrollmentContext,
  { keyId, proposal, proposalHash }: KeyRecord,
  party: number,
  sealingKey: string,
  signal: AbortSignal,
): Promise<void> {
  const { epoch, client } = proposal;
  const node = proposal.parties[party - 1] ?? "";
  const dealing = { key: keyId, epoch, client, node, party, proposal: proposalHash, sealingKey };
  let sealed;
  try {
    sealed = await dealer.seal(dealing, signal);
  } catch (error) {
    // One node's nonsense is its own: without a share it will not accept, and that is all.
    if (!(error instanceof HsmError) || error.code !== "ERR_INVALID_MESSAGE") throw error;
    bus.log.error({ key: keyId, node, error: error.message }, "cannot seal to a node");
    return;
  }
  const subject = formatSubject({ kind: "deal", node, key: keyId });
  await publishSigned(bus, streamNames.deals, subject, sealed);
}

/** @throws HsmError `ERR_KEY_ABANDONED` when too many parties declined */
function isNews(record: KeyRecord, sealedTo: ReadonlySet<string>, minimum: number): boolean {
  requireProposed(record);
  if (record.proposal.parties.length - record.rejected.size < minimum) throw rejection(record);
  return (
    isComplete(record) || [...record.ready.values()].some((one) => !sealedTo.has(one.sealingKey))
  );
}

/** Every party has accepted or declined. */
function isComplete({ accepted, rejected, proposal }: KeyRecord): boolean {
  return accepted.size + rejected.size >= proposal.parties.length;
}

function ascending(parties: Iterable<number>): number[] {
  return [...parties].toSorted((a, b) => a - b);
}

function absence({ accepted, proposal }: KeyRecord, minimum: number, limitMs: number): HsmError {
  const missing = proposal.parties.filter((_, index) => !accepted.has(index + 1));
  return new HsmError(
    "ERR_KEY_ABANDONED",
    `${missing.join(", ")} did not accept a share within ${limitMs / 1000} s;` +
      ` start them, or set minimumAccepted in client.toml below ${minimum}`,
  );
}

function rejection({ rejected, proposal }: KeyRecord): HsmError {
  const reasons = [...rejected].map(([party, why]) => `${proposal.parties[party - 1]}: ${why}`);
  return new HsmError("ERR_KEY_ABANDONED", `nodes rejected their shares (${reasons.join("; ")})`);
}
