/** @module An operator's word in THSM_AUDIT. */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { readIdentityFile } from "../identity/identity-file.js";
import { signMessage } from "../streams/envelope.js";
import { Publisher, type Stored } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { formatSubject, streamNames, type Subject } from "../streams/subjects.js";
import { openMember } from "./member.js";

export interface Operator {
  readonly name: string;
  readonly cluster: Cluster;
  readonly reader: StreamReader;
  /** Signs `body` and stores it in THSM_AUDIT. */
  readonly say: (subject: Subject, body: object) => Promise<Stored>;
}

/**
 * Runs `action` as the operator whose operator.toml this is.
 * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`, `ERR_BROKER_UNREACHABLE`
 */
export async function withOperator<T>(
  configFile: string,
  action: (operator: Operator) => Promise<T>,
): Promise<T> {
  const { name, role, cluster, connection, identityFile } = await openMember(configFile);
  try {
    if (role !== "operator" || identityFile === undefined) {
      throw new HsmError(
        "ERR_INVALID_CONFIG",
        `${configFile}: expected an operator's file with identityFile, got ${role} ${name}'s`,
      );
    }
    const identity = (await readIdentityFile(identityFile)).openUnprotected();
    const reader = new StreamReader(connection);
    const publisher = new Publisher(connection, reader, name);
    try {
      return await action({
        name,
        cluster,
        reader,
        say: (subject, body) =>
          publisher.publish(signMessage(identity, streamNames.audit, formatSubject(subject), body)),
      });
    } finally {
      publisher.close();
    }
  } finally {
    await connection.close();
  }
}
