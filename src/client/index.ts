/**
 * @module The client's public face. Programs, the command line and the PKCS#11 daemon see this
 * and nothing behind it.
 */
import { stat } from "node:fs/promises";
import { HsmError } from "../errors.js";
import { readCluster } from "../identity/cluster.js";
import { requireSecretFiles } from "../identity/secret-file.js";
import { silentLogger, type Logger } from "../log.js";
import type { HsmClient } from "./api.js";
import { Client } from "./client.js";
import { readClientConfig, type ClientConfig } from "./config.js";
import { IdentityLock } from "./identity-lock.js";

export type * from "./api.js";
export { encodings, hashes } from "./api.js";
export * from "./audit/index.js";
export {
  connectScratch,
  openHistory,
  openLive,
  type AuditOptions,
  type OpenBookmark,
  type LiveStreams,
  type OpenHistory,
} from "./auditor.js";
export { defaultPolicy } from "./key-proposal.js";
export { IdentityLock } from "./identity-lock.js";
export { weigh, type Guilt, type Weighed } from "./audit/evidence.js";
export { readEvidence } from "./audit/evidence-file.js";
export { clearNode, type Cleared } from "./clear-node.js";
export { withOperator, type Operator } from "./operator.js";
export {
  clusterStatus,
  type BlameStatus,
  type ClusterStatus,
  type NodeStatus,
  type StreamStatus,
} from "./status.js";
export { readClientConfig, type ClientConfig } from "./config.js";
export { requireSafeDirectory } from "../identity/secret-file.js";
export { parseDigestInfo } from "../scheme/index.js";
export { oneLine } from "./one-line.js";
export { encryptTo } from "./padding.js";
export { verifySignature, type PublicKey } from "./verify.js";

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
  const identity = await IdentityLock.of(config);
  // A count that others could set back, or that is none, shows now and not at the first login.
  await identity.pinState();
  await requireSecretFiles(await secretsOf(config));
  const member = cluster.find("client", config.name);
  if (member?.identity.keyId !== identity.keyId) {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `${config.identityFile} is not the identity that ${config.cluster} names for client ${config.name}`,
    );
  }
  return new Client(config, cluster, identity, log);
}

/** What is read only later. A PIN's file may be another process's alone; then there is nothing to say. */
async function secretsOf({ loginFile, tlsKey, pinSource }: ClientConfig): Promise<string[]> {
  const isSeen =
    pinSource !== undefined &&
    (await stat(pinSource).then(
      () => true,
      () => false,
    ));
  return [loginFile, ...(tlsKey === undefined ? [] : [tlsKey]), ...(isSeen ? [pinSource] : [])];
}
