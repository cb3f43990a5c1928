/** @module A real cluster whose nodes and clients all reach their nats-server through a proxy. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readCluster } from "../../../src/identity/cluster.js";
import { NatsProxy } from "../../support/proxy.js";
import { TestCluster } from "../cluster.js";

export const nodeNames: readonly string[] = ["n1", "n2", "n3", "n4", "n5"];

export interface BehindProxy {
  readonly cluster: TestCluster;
  readonly proxy: NatsProxy;
  close(): Promise<void>;
}

/** Auditor, operator and provisioner keep the straight way: they see what is really stored. */
export async function startBehindProxy(): Promise<BehindProxy> {
  const cluster = await TestCluster.start();
  let proxy: NatsProxy | undefined;
  try {
    const { servers } = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
    const [url = ""] = servers;
    proxy = await NatsProxy.start(url);
    for (const name of ["pkcs11d", ...nodeNames]) await cluster.processes.stop(name);
    for (const folder of ["client", ...nodeNames.map((name) => join("nodes", name))]) {
      const file = join(cluster.dir, folder, "cluster.toml");
      const text = await readFile(file, "utf8");
      await writeFile(file, text.replaceAll(`:${new URL(url).port}`, `:${proxy.port}`));
    }
    await cluster.up();
  } catch (error) {
    proxy?.close();
    await cluster.close();
    throw error;
  }
  const opened = proxy;
  return {
    cluster,
    proxy: opened,
    async close() {
      opened.close();
      await cluster.close();
    },
  };
}
