/**
 * @module The client's public face. Programs, the command line and the PKCS#11 daemon see this
 * and nothing behind it.
 */
import { constants, createPublicKey, publicEncrypt } from "node:crypto";
import { HsmError } from "../errors.js";
import { readCluster } from "../identity/cluster.js";
import { toBase64url } from "../identity/encoding.js";
import { readIdentityFile } from "../identity/identity-file.js";
import { silentLogger, type Logger } from "../log.js";
import { encodeMessage, parseDigestInfo } from "../scheme/index.js";
import type { HsmClient, KeyInfo, SignInput } from "./api.js";
import { Client } from "./client.js";
import { readClientConfig } from "./config.js";
import { IdentityLock } from "./identity-lock.js";

export type * from "./api.js";
export { encodings, hashes } from "./api.js";
export * from "./audit/index.js";
export { openHistory, type AuditOptions, type OpenHistory } from "./auditor.js";
export { readClientConfig, type ClientConfig } from "./config.js";
export { parseDigestInfo };

export interface ConnectOptions {
  /** Path of client.toml. */
  readonly configFile: string;
  readonly log?: Logger;
}

/**
 * A client that connects in the background: calls wait for NATS within their own deadlines.
 * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`
 */
export async function connect({
  configFile,
  log = silentLogger,
}: ConnectOptions): Promise<HsmClient> {
  const config = await readClientConfig(configFile);
  const cluster = await readCluster(config.cluster);
  const file = await readIdentityFile(config.identityFile);
  const member = cluster.find("client", config.name);
  if (member?.identity.keyId !== file.publicKey.keyId) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `${config.identityFile} is not the identity that ${config.cluster} names for client ${config.name}`,
    );
  }
  return new Client(config, cluster, new IdentityLock(file), log);
}

/** Whether `signature` is the key's over `input` (any encoding but PSS, whose salt is unknown). */
export function verifySignature(key: KeyInfo, input: SignInput, signature: Uint8Array): boolean {
  const n = toBase64url(key.modulus);
  const e = toBase64url(key.publicExponent);
  const publicKey = createPublicKey({ key: { kty: "RSA", n, e }, format: "jwk" });
  if (signature.length !== key.modulus.length) return false;
  try {
    const opened = publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, signature);
    return opened.equals(encodeMessage(key, input));
  } catch {
    // A signature that is not below the modulus is none.
    return false;
  }
}
