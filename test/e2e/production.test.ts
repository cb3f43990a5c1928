/**
 * @module A cluster made the way docs/operations.md tells it: every participant's keys in a directory
 * of its own, as on its own host, and only what is public carried between them.
 */
import { X509Certificate } from "node:crypto";
import { cp, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { createCluster, type ClusterFlags } from "../../src/cli/cluster.js";
import type { Processes } from "../../src/cli/dev/processes.js";
import { describeError } from "../../src/errors.js";
import { run, succeed, type Outcome } from "../support/run.js";
import { startNatsServer, type NatsServer } from "../support/nats-server.js";
import { TestCluster, thsmProgram } from "./cluster.js";
import { until } from "./until.js";

const nodeProgram = thsmProgram.replace("cli/main.js", "node/main.js");
const nodes = ["n1", "n2", "n3"];
const hosts = [...nodes, "alice", "op", "aud", "nats-1"];

describe("a cluster whose keys never travel", function () {
  this.timeout(240_000);
  // Nothing of it runs: only the directory, and the certainty that all is gone in the end.
  const root = new TestCluster();
  const processes: Processes = root.scratch("run");
  const host = (...parts: string[]): string => root.path("hosts", ...parts);
  const shared = (...parts: string[]): string => root.path("shared", ...parts);
  let server: NatsServer | undefined;

  const thsm = (...parameters: string[]): Promise<Outcome> =>
    run(process.execPath, [thsmProgram, ...parameters], {
      env: { ...root.env, THSM_CONFIG: host("alice", "client.toml") },
    });
  const ok = async (...parameters: string[]): Promise<string> => {
    const { code, text } = await thsm(...parameters);
    expect(code, text).to.equal(0);
    return text;
  };

  after(async () => {
    await server?.stop();
    await root.close();
  });

  it("begins with keys that each host makes for itself", async () => {
    await mkdir(host(), { recursive: true });
    await mkdir(shared());
    await writeFile(root.path("pin"), "482916\n", { mode: 0o600 });
    const fingerprints: string[] = [];
    for (const name of hosts) {
      const role = { n: "node", a: "client", o: "operator" }[name[0] ?? ""] ?? "";
      const real = name === "aud" ? "auditor" : name === "nats-1" ? "server" : role;
      const own = {
        client: ["--pin-source", root.path("pin"), "--recovery-out", root.path("code")],
        server: ["--host", "127.0.0.1"],
      }[real];
      const where = ["--role", real, "--name", name, "--out", host(name)];
      const said = await ok("identity", "create", ...where, ...(own ?? []));
      const [, fingerprint = ""] = /fingerprint: (.+)/.exec(said) ?? [];
      const part = `${name}.public.toml`;
      await cp(host(name, part), shared(part));
      fingerprints.push(fingerprint);
    }
    const parts = hosts.map((name) => shared(`${name}.public.toml`));
    const shown = await ok("identity", "show", ...parts);
    for (const one of fingerprints) expect(shown).to.include(one);
    expect((await stat(root.path("code"))).mode & 0o777).to.equal(0o600);
    const again = await thsm(
      "identity",
      "create",
      "--role",
      "node",
      "--name",
      "n1",
      "--out",
      host("n1"),
    );
    expect(again.text).to.match(/is not empty/);
  });

  it("is put together from the public parts", async () => {
    const parts = hosts.map((name) => shared(`${name}.public.toml`));
    const made = ["--out", shared("cluster"), "--name", "zones", "--threshold", "2"];
    const refused = async (files: string[], flags: Partial<ClusterFlags>): Promise<string> =>
      await createCluster(files, {
        out: shared("cluster"),
        name: "zones",
        token: [{ name: "dns", clients: ["alice"] }],
        port: 4222,
        syncAlways: true,
        ...flags,
      }).then(() => "", describeError);
    const bob = [{ name: "dns", clients: ["bob"] }];
    expect(await refused(parts, { token: bob })).to.match(/no client is named bob/);
    const plain = { server: ["nats://10.0.0.1:4222"] };
    expect(await refused(parts, plain)).to.match(/must be tls:\/\//);
    expect(await refused([...parts, parts[0] ?? ""], {})).to.match(/the name n1 is taken/);
    expect(await readdir(shared())).not.to.include("cluster");
    const said = await ok("cluster", "create", ...parts, ...made, "--token", "dns=alice");
    expect(said).to.match(/[0-9a-f]{4}( [0-9a-f]{4}){7} {2}node n1/);
    expect((await readdir(shared("cluster"))).toSorted()).to.deep.equal(
      [...hosts, "ca", "provisioner"].toSorted(),
    );
    for (const name of hosts) await cp(shared("cluster", name), host(name), { recursive: true });
    const cert = new X509Certificate(await readFile(host("n1", "cert.pem")));
    expect(cert.subject).to.equal("CN=n1");
  });

  it("makes a key and signs with it, over TLS with certificates", async () => {
    const config = (await readFile(host("nats-1", "server.conf"), "utf8"))
      .replaceAll("/etc/nats", host("nats-1"))
      .replaceAll("/var/lib/nats", host("nats-1", "store"))
      .replace(/^http: .*$/m, "")
      // Debian 12's server refuses to start with it.
      .replace("  sync_interval: always\n", "");
    server = await startNatsServer({ config, dir: root.path("nats") });
    const url = server.url.replace("nats:", "tls:");
    for (const name of [...nodes, "alice", "aud", join("..", "shared", "cluster", "provisioner")]) {
      const file = host(name, "cluster.toml");
      const text = await readFile(file, "utf8");
      await writeFile(file, text.replace(/^servers = .*$/m, `servers = ["${url}"]`));
      for (const entry of await readdir(host(name))) {
        if (!/^(node|client)\.toml$/.test(entry)) continue;
        const path = host(name, entry);
        const own = (await readFile(path, "utf8")).replaceAll("/var/lib/thsm", host(name, "data"));
        await writeFile(path, own);
      }
    }
    await mkdir(host("alice", "data"), { mode: 0o700 });
    await ok(
      "provision",
      "--dir",
      shared("cluster"),
      "--wait",
      "60",
      "--requests",
      "64MiB",
      "--shares",
      "64MiB",
      "--audit",
      "64MiB",
      "--keys",
      "64MiB",
    );
    process.env["THSM_E2E"] = root.root;
    for (const name of nodes) {
      const args = [nodeProgram, "--config", host(name, "node.toml")];
      await processes.start({ name, command: process.execPath, args, env: root.env });
    }
    await until("the nodes listen", async () =>
      (await Promise.all(nodes.map((name) => readFile(processes.logFile(name), "utf8")))).every(
        (log) => log.includes("connected to NATS"),
      ),
    );
    root.env["THSM_PIN"] = "482916";
    await ok("key", "generate", "--label", "demo", "--bits", "1024");
    await writeFile(root.path("file"), "to sign");
    await ok(
      "sign",
      "--key",
      "demo",
      "--hash",
      "sha256",
      "-o",
      root.path("sig"),
      root.path("file"),
    );
    const shown = await succeed(process.execPath, [thsmProgram, "key", "show", "demo", "--pem"], {
      env: { ...root.env, THSM_CONFIG: host("alice", "client.toml") },
    });
    await writeFile(root.path("pub.pem"), shown.stdout);
    const verify = ["dgst", "-sha256", "-verify", root.path("pub.pem"), "-signature"];
    const verified = await run("openssl", [...verify, root.path("sig"), root.path("file")]);
    expect(verified.text).to.include("Verified OK");
    expect(await ok("audit", "verify", "--auditor", host("aud", "auditor.toml"))).to.include(
      "0 findings",
    );
  });

  it("has every private key in one place only", async () => {
    const secrets: { owner: string; file: string; bytes: Buffer }[] = [];
    for (const file of await filesBelow(root.root)) {
      const bytes = await readFile(file);
      const text = bytes.toString("latin1");
      const found = [
        ...(text.match(/\bSU[A-Z2-7]{56}\b/g) ?? []),
        ...(/BEGIN PRIVATE KEY-----\n([^-]+)/.exec(text)?.slice(1) ?? []),
        ...(/"secret": "([\w-]+)"/.exec(text)?.slice(1) ?? []),
      ];
      for (const secret of found) secrets.push({ owner: file, file, bytes: Buffer.from(secret) });
    }
    // Identity, login and TLS of six members, an archiver, two TLS keys of a server; provisioner; CA.
    const made = secrets.filter(({ file }) => !file.includes("/data/"));
    expect(made.length, made.map(({ file }) => file).join("\n")).to.equal(6 * 3 + 1 + 2 + 2 + 1);
    for (const file of await filesBelow(root.root)) {
      const bytes = await readFile(file);
      for (const { owner, bytes: secret } of secrets) {
        if (owner !== file) expect(bytes.includes(secret), `${owner} in ${file}`).to.equal(false);
      }
      if (file.startsWith(shared()) && !/\/(ca|provisioner)\//.test(file)) {
        expect(bytes.toString("latin1"), file).to.not.match(/PRIVATE KEY|\bSU[A-Z2-7]{56}\b/);
      }
    }
  });
});

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
