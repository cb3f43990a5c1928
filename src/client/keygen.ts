/**
 * @module Key generation: the dealer's run. Propose the public record, seal each party's share to
 * the one-time key it answers with, wait until all accepted, prove by a test signature that the
 * key signs, activate. Whatever goes wrong on the way, the key is abandoned and nodes erase.
 */
import { createHash } from "node:crypto";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { KeyRecord } from "../streams/key-life.js";
import { streamNames } from "../streams/subjects.js";
import type { GenerateKeyOptions, KeygenProgress } from "./api.js";
import type { Bus } from "./bus.js";
import type { Dealer } from "./dealer.js";
import { requireProposed, sealAndAwait } from "./enrollment.js";
import { abandon, decide, keySubject, publishSigned } from "./key-decisions.js";
import { proposalOf, type ProposalTerms } from "./key-proposal.js";
import type { Session } from "./session.js";

export interface KeygenContext extends ProposalTerms {
  readonly bus: Bus;
  readonly cluster: Cluster;
  readonly dealer: Pick<Dealer, "deal" | "seal">;
  readonly openSession: () => Session;
}

/** The digest that a key's test signature is made of: nothing that anybody else would sign. */
export function testDigest(proposalHash: string): Uint8Array {
  return createHash("sha256").update(`thsm/v1 test\0${proposalHash}`).digest();
}

/**
 * Runs to an active key.
 * @throws HsmError `ERR_KEY_ABANDONED` with the reason as cause; nothing is left of the key then
 */
export async function dealKeyOut(
  context: KeygenContext,
  keyId: string,
  options: GenerateKeyOptions,
  signal: AbortSignal,
): Promise<KeyRecord> {
  const { bus, cluster, dealer, threshold, client } = context;
  const tell = (progress: KeygenProgress): void => options.onProgress?.(progress);
  const parties = cluster.nodes.map(({ name }) => name);

  tell({ step: "primes", done: 0, total: 2 });
  const group = await dealer.deal(parties.length, threshold, signal, (done) =>
    tell({ step: "primes", done, total: 2 }),
  );
  tell({ step: "propose" });
  const proposal = proposalOf(context, keyId, options, group, parties);
  const proposalHash = await publishSigned(bus, streamNames.keys, keySubject(keyId), proposal);
  const key = { keyId, proposalHash };
  try {
    await bus.keys.catchUp();
    const accepted = await sealAndAwait(context, keyId, signal, tell);
    tell({ step: "test" });
    const test = await testKey(context, keyId, Date.parse(proposal.expires), signal);
    await decide(bus, client, key, { type: "activated", accepted, ...test });
    await bus.keys.catchUp();
    const active = await bus.keys.until(keyId, activeOrOver, signal);
    tell({ step: "active" });
    return active;
  } catch (cause) {
    await abandon(bus, client, key, describeError(cause));
    // The activation may have been stored although we heard nothing of it: the stream decides.
    await bus.keys.catchUp().catch(() => undefined);
    const record = bus.keys.record(keyId);
    if (record?.state === "active") return record;
    const reason = cause instanceof Error ? cause.message : describeError(cause);
    throw new HsmError("ERR_KEY_ABANDONED", `no key was made: ${reason}`, { cause });
  }
}

/** Has a key sign its test digest. Returns where that is on record. */
async function testKey(
  { bus, openSession }: KeygenContext,
  keyId: string,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<{ session: string; rid: string }> {
  const session = openSession();
  try {
    const record = await bus.keys.until(keyId, (one) => one, signal);
    const { rid } = await session.test(record, testDigest(record.proposalHash), deadlineMs);
    return { session: session.id, rid };
  } finally {
    await session.close();
  }
}

function activeOrOver(record: KeyRecord | undefined): KeyRecord | undefined {
  if (record?.state === "active") return record;
  requireProposed(record);
  return undefined;
}
