/** @module An operator's word that a node may be trusted again. */
import { HsmError } from "../errors.js";
import { formatVersion } from "../streams/fields.js";
import { withOperator } from "./operator.js";

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
  return await withOperator(configFile, async ({ name: operator, cluster, say }) => {
    if (cluster.find("node", node) === undefined) {
      const names = cluster.nodes.map(({ name }) => name).join(", ");
      throw new HsmError("ERR_INVALID_ARGUMENT", `there is no node ${node}; there are ${names}`);
    }
    const time = new Date().toISOString();
    const body = { version: formatVersion, type: "node-cleared", operator, node, reason, time };
    const { seq } = await say({ kind: "clear", operator, node }, body);
    return { node, operator, seq };
  });
}
