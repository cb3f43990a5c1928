/** @module What a client wishes of a new key, as the public record that it proposes. */
import { createHash, randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { toBase64url, toHex } from "../identity/encoding.js";
import { modulusSizes, type GroupKeyBytes } from "../scheme/index.js";
import { formatVersion, maxInputs } from "../streams/fields.js";
import { KeyProposed, policyFault } from "../streams/keys.js";
import { validated } from "../validate.js";
import { encodings, hashes, type GenerateKeyOptions, type KeyPolicy } from "./api.js";

/** SHA-1, opaque payloads and raw blocks are for keys whose owner asks for them. */
export const defaultPolicy: KeyPolicy = {
  encodings: ["pkcs1v15", "pss"],
  hashes: ["sha224", "sha256", "sha384", "sha512"],
  maxInputs,
  proofs: "on-failure",
};

/** What of a proposal does not depend on the single key. */
export interface ProposalTerms {
  readonly client: string;
  readonly threshold: number;
  readonly minimum: number;
  /** How long nodes have to accept. */
  readonly enrollmentMs: number;
}

/** From the proposal to the activation at most: half as long again for the test signature. */
export function dealingMs({ enrollmentMs }: Pick<ProposalTerms, "enrollmentMs">): number {
  return enrollmentMs * 1.5;
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
  terms: ProposalTerms,
  cluster: Cluster,
  options: GenerateKeyOptions,
): void {
  const { threshold, minimum } = terms;
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
  const fault = policyFault(policy.encodings ?? defaultPolicy.encodings);
  if (fault !== undefined) throw new HsmError("ERR_INVALID_ARGUMENT", fault);
  const outsider = policy.clients?.find((client) => !cluster.mayUse(client, options.token));
  if (outsider !== undefined) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      `policy names client ${outsider}, who may not use token ${options.token}`,
    );
  }
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
  const sketch = proposalOf(terms, "0".repeat(32), options, group, parties);
  validated(KeyProposed, sketch, "ERR_INVALID_ARGUMENT");
}

/** The body of the `proposed` event, as of now. */
export function proposalOf(
  terms: ProposalTerms,
  keyId: string,
  options: GenerateKeyOptions,
  group: GroupKeyBytes,
  parties: readonly string[],
): { readonly expires: string } {
  const { clients, rate, ...policy } = { ...defaultPolicy, ...options.policy };
  const now = Date.now();
  const body = {
    version: formatVersion,
    type: "proposed",
    key: keyId,
    epoch: 0,
    client: terms.client,
    token: options.token,
    label: options.label,
    id: toHex(options.id ?? randomBytes(20)),
    algorithm: "rsa",
    scheme: "shoup",
    modulus: toBase64url(group.modulus),
    publicExponent: toBase64url(group.publicExponent),
    threshold: group.threshold,
    parties,
    minimum: terms.minimum,
    verificationBase: toBase64url(group.verificationBase),
    verificationKeys: group.verificationKeys.map(toBase64url),
    encodings: policy.encodings,
    hashes: policy.hashes,
    // A request of more signatures than there ever are would never be answered.
    maxInputs: Math.min(policy.maxInputs, rate?.signatures ?? policy.maxInputs),
    proofs: policy.proofs,
    clients,
    rateLimit: rate?.signatures,
    ratePeriodSeconds: rate?.perSeconds,
    time: new Date(now).toISOString(),
    expires: new Date(now + dealingMs(terms)).toISOString(),
  };
  return body;
}
