/**
 * @module What this node agrees to sign. Pure: a request, the key as its events tell, the cluster and
 * the clock in; encoded messages or the reason of a refusal out.
 */
import { createHash } from "node:crypto";
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { fromHex } from "../identity/encoding.js";
import { encodeMessage, type Encoding, type Hash } from "../scheme/index.js";
import type { SignRequest } from "../streams/requests.js";
import type { KeyEntry } from "./key-directory.js";

export interface Clock {
  readonly now: number;
  /** When the server stored the request, by its own clock. */
  readonly storedAt: number;
  readonly maxRequestLifetimeMs: number;
}

/**
 * Whether the request may be answered now.
 * @throws HsmError `ERR_EXPIRED`, also for one that expires too far ahead
 */
export function requireTimely({ expires }: SignRequest, clock: Clock): void {
  const { now, storedAt, maxRequestLifetimeMs } = clock;
  const left = Date.parse(expires) - now;
  // Written so that a date that does not exist fails too.
  if (left > 0 && left <= maxRequestLifetimeMs) return;
  throw new HsmError(
    "ERR_EXPIRED",
    `expires ${expires}, ${describe(left)} by this node's clock, at most ${seconds(maxRequestLifetimeMs)} ` +
      `ahead allowed; ${suspect(Date.parse(expires) - storedAt, storedAt - now, clock)}`,
  );
}

/** The server's clock is the third: a guess for people, and nothing is decided by it. */
function suspect(leftWhenStored: number, drift: number, clock: Clock): string {
  if (leftWhenStored > 0 && leftWhenStored <= clock.maxRequestLifetimeMs) {
    return (
      `it was in time when the NATS server stored it, ${describe(drift)}: it was long on its way, ` +
      "or this node's clock is wrong"
    );
  }
  return `it was so already when the NATS server stored it, ${describe(drift)}: the client's clock is wrong`;
}

/**
 * Whether this client may have this signed with this key.
 * @throws HsmError `ERR_UNKNOWN_KEY`, `ERR_KEY_NOT_ACTIVE`, `ERR_REFUSED_BY_POLICY`
 */
export function requireAllowed(request: SignRequest, key: KeyEntry, cluster: Cluster): void {
  const { record } = key;
  if (!cluster.mayUse(request.client, record.token)) {
    throw new HsmError("ERR_UNKNOWN_KEY", `${request.client} has no key ${request.key}`);
  }
  if (request.epoch !== record.epoch) {
    throw new HsmError("ERR_UNKNOWN_KEY", `key ${request.key} has no epoch ${request.epoch}`);
  }
  if (request.kind === "test") {
    requireTest(request, key);
    return;
  }
  requireState(key, ["active"]);
  if (record.clients?.includes(request.client) === false) {
    throw new HsmError("ERR_REFUSED_BY_POLICY", `the key does not sign for ${request.client}`);
  }
  if (!record.encodings.includes(request.encoding)) {
    throw new HsmError(
      "ERR_REFUSED_BY_POLICY",
      request.encoding === "decrypt"
        ? "the key does not decrypt"
        : `the key does not sign ${request.encoding}`,
    );
  }
  if (request.hash !== undefined && !record.hashes.includes(request.hash)) {
    throw new HsmError("ERR_REFUSED_BY_POLICY", `the key does not sign ${request.hash}`);
  }
  if (request.inputs.length > record.maxInputs) {
    throw new HsmError(
      "ERR_REFUSED_BY_POLICY",
      `expected at most ${record.maxInputs} inputs, got ${request.inputs.length}`,
    );
  }
}

/** The one thing that a key signs before it is active: a digest that means nothing else. */
function requireTest(request: SignRequest, key: KeyEntry): void {
  requireState(key, ["proposed", "active"]);
  const isTest =
    request.client === key.record.client &&
    request.encoding === "pkcs1v15" &&
    request.hash === "sha256" &&
    request.inputs.length === 1 &&
    request.inputs[0] === testDigest(key.proposal);
  if (!isTest) {
    throw new HsmError("ERR_REFUSED_BY_POLICY", "a test signs the proposal's test digest only");
  }
}

/** SHA-256 of `"thsm/v1 test" ‖ 0 ‖ proposal hash`, lower-case hex: what a test request signs. */
export function testDigest(proposal: string): string {
  return createHash("sha256").update(`thsm/v1 test\0${proposal}`).digest("hex");
}

/** @throws HsmError `ERR_KEY_NOT_ACTIVE` */
export function requireState(key: KeyEntry, states: readonly string[]): void {
  if (!states.includes(key.state)) {
    throw new HsmError("ERR_KEY_NOT_ACTIVE", `key ${key.record.key} is ${key.state}`);
  }
}

/**
 * What is signed, one encoded message an input: built here, from a digest of the hash's length or
 * what the key's policy allows instead of one.
 * @throws HsmError `ERR_INVALID_ARGUMENT`, `ERR_UNSUPPORTED_MECHANISM`, `ERR_INVALID_MESSAGE`
 */
export function encodeInputs(request: SignRequest, key: KeyEntry): Uint8Array[] {
  const group = key.group();
  const { hash, salts } = request;
  const encoding = encodings[request.encoding];
  if (encoding === undefined) {
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", `no such encoding: ${request.encoding}`);
  }
  return request.inputs.map((input, index) => {
    const salt = salts?.[index];
    return encodeMessage(group, {
      encoding,
      data: fromHex(input, "input"),
      ...(hash === undefined ? {} : { hash: hashes[hash] ?? unknownHash(hash) }),
      ...(salt === undefined ? {} : { salt: fromHex(salt, "salt") }),
    });
  });
}

const encodings: Readonly<Record<string, Encoding>> = {
  pkcs1v15: "pkcs1v15",
  pss: "pss",
  "pkcs1v15-opaque": "pkcs1v15-opaque",
  raw: "raw",
  decrypt: "decrypt",
  checkpoint: "checkpoint",
};
const hashes: Readonly<Record<string, Hash>> = {
  sha1: "sha1",
  sha224: "sha224",
  sha256: "sha256",
  sha384: "sha384",
  sha512: "sha512",
};

function unknownHash(hash: string): never {
  throw new HsmError("ERR_UNSUPPORTED_MECHANISM", `no such hash: ${hash}`);
}

function describe(ms: number): string {
  if (Number.isNaN(ms)) return "which is no date";
  return `${seconds(Math.abs(ms))} in the ${ms < 0 ? "past" : "future"}`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
