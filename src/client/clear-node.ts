/** @module An operator's word that a node may be trusted again. */
import { HsmError } from "../errors.js";
import { readIdentityFile } from "../identity/identity-file.js";
import { signMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import { Publisher } from "../streams/publish.js";
import { StreamReader } from "../streams/read.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import { openMember } from "./member.js";

/** Where the word stands: what clients said of the node before it counts no more. */
export interface Cleared {
  readonly node: string;
  readonly operator: string;
  /** Entry of THSM_AUDIT. */
  readonly seq: number;
}

/** @throws HsmError `ERR_INVALID_CONFIG`, `ERR_INVALID_ARGUMENT`, `ERR_BROKER_UNREACHABLE` */
export async function clearNode(
  configFile: string,
  node: string,
  reason: string | undefined,
): Promise<Cleared> {
  const { name: operator, role, cluster, connection, identityFile } = await openMember(configFile);
  try {
    if (role !== "operator" || identityFile === undefined) {
      throw new HsmError(
        "ERR_INVALID_CONFIG",
        `${configFile}: expected an operator's file with identityFile, got ${role} ${operator}'s`,
      );
    }
    if (cluster.find("node", node) === undefined) {
      const names = cluster.nodes.map(({ name }) => name).join(", ");
      throw new HsmError("ERR_INVALID_ARGUMENT", `there is no node ${node}; there are ${names}`);
    }
    const identity = (await readIdentityFile(identityFile)).openUnprotected();
    const subject = formatSubject({ kind: "clear", operator, node });
    const message = signMessage(identity, streamNames.audit, subject, {
      version: formatVersion,
      type: "node-cleared",
      operator,
      node,
      reason,
      time: new Date().toISOString(),
    });
    const publisher = new Publisher(connection, new StreamReader(connection), operator);
    try {
      const { seq } = await publisher.publish(message);
      return { node, operator, seq };
    } finally {
      publisher.close();
    }
  } finally {
    await connection.close();
  }
}
