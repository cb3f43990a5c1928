/** @module A second client and a token of its own, put into a development cluster that is down. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { parse, stringify } from "smol-toml";
import { createIdentityFile } from "../../src/identity/identity-file.js";
import { writeSecretFile } from "../../src/identity/secret-file.js";
import type { TestCluster } from "./cluster.js";

/** Returns the folder with `identity.json` (no PIN) and `login.nk` of client c2. */
export async function addSecondClient(cluster: TestCluster): Promise<string> {
  const at = join(cluster.dir, "client2");
  await mkdir(at, { mode: 0o700 });
  const identity = await createIdentityFile(join(at, "identity.json"), "c2");
  const pair = createUser();
  await writeSecretFile(join(at, "login.nk"), pair.getSeed());
  const login = pair.getPublicKey();

  const nodes = ["n1", "n2", "n3", "n4", "n5"].map((name) => `nodes/${name}`);
  let firstLogin = "";
  for (const folder of ["provisioner", "client", "auditor", "operator", ...nodes]) {
    const file = join(cluster.dir, folder, "cluster.toml");
    const text = parse(await readFile(file, "utf8")) as {
      client: { name: string; identity: string; login: string }[];
      token: object[];
    };
    firstLogin = text.client[0]?.login ?? "";
    text.client.push({ name: "c2", identity: identity.text, login });
    text.token.push({ name: "other", clients: ["c2"] });
    await writeFile(file, stringify(text));
  }

  // The permissions of c1, word for word, for c2.
  const file = join(cluster.dir, "nats/server.conf");
  const text = await readFile(file, "utf8");
  const begin = text.indexOf("      # client c1\n");
  const end = text.indexOf("      # ", begin + 10);
  const block = text.slice(begin, end);
  if (begin < 0 || end < 0 || !block.includes(firstLogin)) throw new Error("no block of c1");
  const copy = block.replaceAll(firstLogin, login).replaceAll(/\bc1\b|(?<=_)c1\b/g, "c2");
  await writeFile(file, `${text.slice(0, end)}${copy}${text.slice(end)}`);
  return at;
}
