/**
 * @module Key generation: the dealer's run. Propose the public record, seal each party's share to
 * the one-time key it answers with, wait until all accepted, prove by a test signature that the
 * key signs, activate. Whatever goes wrong on the way, the key is abandoned and nodes erase.
 */
import { createHash, randomBytes } from "node:crypto";
import { describeError, HsmError } from "../errors.js";
import { validated } from "../validate.js";
import type { Cluster } from "../identity/cluster.js";
import { toBase64url, toHex } from "../identity/encoding.js";
import { modulusSizes, type GroupKeyBytes } from "../scheme/index.js";
import { signMessage } from "../streams/envelope.js";
import { formatVersion, maxInputs } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import { KeyProposed } from "../streams/keys.js";
import { formatSubject, streamNames, type StreamName } from "../streams/subjects.js";
import {
  encodings,
  hashes,
  type GenerateKeyOptions,
  type KeyPolicy,
  type KeygenProgress,
} from "./api.js";
import type { Bus } from "./bus.js";
import type { Dealer } from "./dealer.js";
import type { Session } from "./session.js";

/** SHA-1, opaque payloads and raw blocks are for keys whose owner asks for them. */
export const defaultPolicy: KeyPolicy = {
  encodings: ["pkcs1v15", "pss"],
  hashes: ["sha224", "sha256", "sha384", "sha512"],
  maxInputs,
  proofs: "on-failure",
};

const testMs = 20_000;
/** How long nodes have to accept. */
const enrollmentMs = 30_000;
/** A proposal this old whose dealer has not finished has none any more. */
export const staleMs = 120_000;

export interface KeygenContext {
  readonly bus: Bus;
  readonly cluster: Cluster;
  readonly client: string;
  readonly threshold: number;
  readonly minimum: number;
  readonly dealer: Pick<Dealer, "deal" | "seal">;
  /** How long nodes have to accept; default 30 s. */
  readonly enrollmentMs?: number;
  readonly openSession: () => Session;
}

/** The digest that a key's test signature is made of: nothing that anybody else would sign. */
export function testDigest(proposalHash: string): Uint8Array {
  return createHash("sha256").update(`thsm/v1 test\0${proposalHash}`).digest();
}

/** The key's id follows from who wishes it and how often he tried. */
export function keyIdOf(client: string, operationId: Uint8Array, attempt: number): string {
  return createHash("sha256")
    .update(`thsm/v1 key\0${client}\0${toHex(operationId)}\0${attempt}`)
    .digest("hex")
    .slice(0, 32);
}

/**
 * Refuses a wish that no node would accept, before anybody searches for primes.
 * @throws HsmError `ERR_INVALID_ARGUMENT`, `ERR_UNSUPPORTED_MECHANISM`, `ERR_INVALID_CONFIG` for a
 * threshold that the cluster cannot have
 */
export function checkWish(
  { threshold, minimum, cluster, client }: Omit<KeygenContext, "bus" | "dealer" | "openSession">,
  options: GenerateKeyOptions,
): void {
  const { modulusBits = 2048, policy = {} } = options;
  if (!modulusSizes.includes(modulusBits)) {
    const sizes = modulusSizes.join(", ");
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", `expected one of ${sizes} bits`);
  }
  const parties = cluster.nodes.map(({ name }) => name);
  const n = parties.length;
  if (threshold > n || 2 * threshold <= n || minimum < threshold || minimum > n) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `with ${n} nodes a threshold is more than ${n / 2} and at most ${n}, and minimumAccepted is between them;` +
        ` client.toml says ${threshold} and ${minimum}`,
    );
  }
  const isKnown =
    (policy.encodings ?? []).every((one) => encodings.includes(one)) &&
    (policy.hashes ?? []).every((one) => hashes.includes(one));
  if (!isKnown) throw new HsmError("ERR_INVALID_ARGUMENT", "unknown encoding or hash in policy");
  // The numbers of the key are not there yet; any will do for the shape of the rest.
  const one = Uint8Array.of(1);
  const group = {
    modulus: one,
    publicExponent: one,
    threshold,
    parties: n,
    verificationBase: one,
    verificationKeys: [one],
  };
  const keyId = "0".repeat(32);
  const sketch = proposalOf({ client, minimum }, keyId, options, group, parties);
  validated(KeyProposed, sketch, "ERR_INVALID_ARGUMENT");
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
  const { bus, cluster, dealer, threshold } = context;
  const tell = (progress: KeygenProgress): void => options.onProgress?.(progress);
  const parties = cluster.nodes.map(({ name }) => name);

  tell({ step: "primes", done: 0, total: 2 });
  const group = await dealer.deal(parties.length, threshold, signal, (done) =>
    tell({ step: "primes", done, total: 2 }),
  );
  tell({ step: "propose" });
  const proposal = proposalOf(context, keyId, options, group, parties);
  const proposalHash = await publish(bus, streamNames.keys, keySubject(keyId), proposal);
  try {
    await bus.keys.catchUp();
    const accepted = await sealAndAwait(context, keyId, signal, tell);
    tell({ step: "test" });
    const session = context.openSession();
    let rid;
    try {
      const record = await bus.keys.until(keyId, (one) => one, signal);
      const test = await session.test(record, testDigest(proposalHash), Date.now() + testMs);
      rid = test.rid;
    } finally {
      await session.close();
    }
    await publish(bus, streamNames.keys, keySubject(keyId), {
      ...eventHead(context, "activated", keyId, proposalHash),
      accepted,
      session: session.id,
      rid,
      time: new Date().toISOString(),
    });
    await bus.keys.catchUp();
    const active = await bus.keys.until(keyId, activeOrOver, signal);
    tell({ step: "active" });
    return active;
  } catch (cause) {
    await abandon(context, keyId, proposalHash, describeError(cause));
    // The activation may have been stored although we heard nothing of it: the stream decides.
    await bus.keys.catchUp().catch(() => undefined);
    const record = bus.keys.record(keyId);
    if (record?.state === "active") return record;
    const reason = cause instanceof Error ? cause.message : describeError(cause);
    throw new HsmError("ERR_KEY_ABANDONED", `no key was made: ${reason}`, { cause });
  }
}

function activeOrOver(record: KeyRecord | undefined): KeyRecord | undefined {
  if (record?.state === "active") return record;
  requireProposed(record);
  return undefined;
}

/** Somebody else may end a dealing: another process of this client. */
function requireProposed(record: KeyRecord | undefined): void {
  if (record === undefined || record.state === "proposed") return;
  throw new HsmError("ERR_KEY_ABANDONED", `the key was ${record.state} meanwhile`);
}

/** Tells the nodes to erase what they have of a key that will never be active. */
export async function abandon(
  context: Pick<KeygenContext, "bus" | "client">,
  keyId: string,
  proposalHash: string,
  reason: string,
): Promise<void> {
  try {
    await publish(context.bus, streamNames.keys, keySubject(keyId), {
      ...eventHead(context, "abandoned", keyId, proposalHash),
      reason: reason.slice(0, 400),
      time: new Date().toISOString(),
    });
  } catch (error) {
    // The next key generation of this client finds the stale proposal and abandons it.
    context.bus.log.error({ key: keyId, error: describeError(error) }, "cannot abandon the key");
  }
}

/** Seals to every `ready` as it comes (a restarted node sends a new one) until enough accepted. */
async function sealAndAwait(
  context: KeygenContext,
  keyId: string,
  signal: AbortSignal,
  tell: (progress: KeygenProgress) => void,
): Promise<number[]> {
  const { bus, dealer, minimum } = context;
  const limitMs = context.enrollmentMs ?? enrollmentMs;
  const sealedTo = new Set<string>();
  const late = AbortSignal.timeout(limitMs);
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
      throw absence(known, minimum, limitMs);
    }
    const { accepted, ready, proposal, proposalHash } = record;
    const total = proposal.parties.length;
    tell({ step: "ready", done: ready.size, total });
    for (const { party, node, sealingKey } of ready.values()) {
      if (sealedTo.has(sealingKey)) continue;
      sealedTo.add(sealingKey);
      if (accepted.has(party)) continue;
      const { key, epoch, client } = proposal;
      const dealing = { key, epoch, client, node, party, proposal: proposalHash, sealingKey };
      let sealed;
      try {
        sealed = await dealer.seal(dealing, signal);
      } catch (error) {
        // One node's nonsense is its own: without a share it will not accept, and that is all.
        if (!(error instanceof HsmError) || error.code !== "ERR_INVALID_MESSAGE") throw error;
        bus.log.error({ key: keyId, node, error: error.message }, "cannot seal to a node");
        continue;
      }
      await publish(bus, streamNames.deals, formatSubject({ kind: "deal", node, key }), sealed);
    }
    tell({ step: "accepted", done: accepted.size, total });
    if (isComplete(record)) return ascending(accepted);
  }
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

function proposalOf(
  context: Pick<KeygenContext, "client" | "minimum">,
  keyId: string,
  options: GenerateKeyOptions,
  group: GroupKeyBytes,
  parties: readonly string[],
): object {
  const policy = { ...defaultPolicy, ...options.policy };
  return {
    version: formatVersion,
    type: "proposed",
    key: keyId,
    epoch: 0,
    client: context.client,
    token: options.token,
    label: options.label,
    id: toHex(options.id ?? randomBytes(20)),
    algorithm: "rsa",
    scheme: "shoup",
    modulus: toBase64url(group.modulus),
    publicExponent: toBase64url(group.publicExponent),
    threshold: group.threshold,
    parties,
    minimum: context.minimum,
    verificationBase: toBase64url(group.verificationBase),
    verificationKeys: group.verificationKeys.map(toBase64url),
    encodings: policy.encodings,
    hashes: policy.hashes,
    maxInputs: policy.maxInputs,
    proofs: policy.proofs,
    time: new Date().toISOString(),
  };
}

function eventHead(
  { client }: Pick<KeygenContext, "client">,
  type: string,
  key: string,
  proposal: string,
): object {
  return { version: formatVersion, type, key, client, proposal };
}

function keySubject(key: string): string {
  return formatSubject({ kind: "key", key });
}

async function publish(
  bus: Bus,
  stream: StreamName,
  subject: string,
  body: object,
): Promise<string> {
  const message = signMessage(bus.identity.require(), stream, subject, body);
  await bus.publisher.publish(message);
  return message.hash;
}
