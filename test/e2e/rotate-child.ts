/** @module A rotation that dies at the step that it is told: `rotate-child.js <dir> <export> <step>`. */
import { planCuts, manifestDigest, rotate, withOperator } from "../../src/client/index.js";
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import { operatorConfigOf } from "../../src/cli/context.js";
import { connectProvisioner, provisionerConfigOf } from "../../src/cli/provision.js";

const [dir = "", target = "", last = ""] = process.argv.slice(2);
const connection = await connectProvisioner(provisionerConfigOf(dir));
await withOperator(operatorConfigOf(undefined, dir), async (operator) => {
  const exported = exportedHistory(target);
  const keep = { keepMs: 0, keepMessages: 30 };
  const cuts = await planCuts(exported, operator.cluster, connection, keep);
  const manifest = await manifestDigest(target);
  for await (const step of rotate(cuts, manifest, operator, connection)) {
    const name = "stream" in step ? `${step.type} ${step.stream}` : step.type;
    if (name === last) process.kill(process.pid, "SIGKILL");
  }
});
await connection.close();
