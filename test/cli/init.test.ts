import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { once } from "node:events";
import { promisify } from "node:util";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { fillDirectory } from "../../src/cli/cluster-files.js";
import { initCluster, type InitFlags, type Initialised } from "../../src/cli/init.js";
import {
  provisionCluster,
  type Provisioned,
  type ProvisionOptions,
} from "../../src/cli/provision.js";
import { readCluster } from "../../src/identity/cluster.js";
import { describeError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import { startNatsServer, type NatsServer } from "../support/nats-server.js";

const program = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

const defaults = {
  name: "thsm",
  parties: 5,
  token: "dns",
  host: ["127.0.0.1"],
  port: 4222,
  tls: true,
  syncAlways: true,
  zone: "threshold.example",
} as const;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function thsm(...args: string[]): Promise<Outcome> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [program, ...args])) };
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome;
    return { code, stdout, stderr };
  }
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .toSorted();
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

describe("thsm init and thsm provision", function () {
  this.timeout(60_000);
  let dir: string;
  const servers: NatsServer[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "thsm-init-"));
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
    await rm(dir, { recursive: true, force: true });
  });

  const at = (...parts: string[]): string => join(dir, "cluster", ...parts);
  const init = (flags: Partial<InitFlags>): Promise<Initialised> =>
    initCluster({ ...defaults, dir: at(), ...flags });
  const provision = (options: Partial<ProvisionOptions> = {}): Promise<Provisioned> => {
    const configFile = at("provisioner", "provisioner.toml");
    return provisionCluster({ configFile, waitMs: 30_000, ...options });
  };

  /** Starts the servers of the files, below `dir`: the paths in them are those of their machines. */
  async function startServers(...folders: string[]): Promise<void> {
    const routePort = await freePort();
    const started = await Promise.all(
      folders.map(async (folder) => {
        const config = (await readFile(at(folder, "server.conf"), "utf8"))
          .replaceAll("/etc/nats", at(folder))
          .replaceAll("/var/lib/nats", join(dir, `store-${folder}`))
          .replaceAll(":6222", `:${routePort}`)
          .replace(/^http: .*$/m, "")
          // Debian 12's server refuses to start with it.
          .replace("  sync_interval: always\n", "");
        return await startNatsServer({ config, dir: join(dir, `run-${folder}`) });
      }),
    );
    servers.push(...started);
    const file = at("provisioner", "cluster.toml");
    const urls = started.map(({ url }) => JSON.stringify(url.replace("nats:", "tls:")));
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace(/^servers = .*$/m, `servers = [${urls.join(", ")}]`));
  }

  /** With the provisioner's login, past `thsm provision`. */
  async function asProvisioner(work: (manager: JetStreamManager) => Promise<void>): Promise<void> {
    const cluster = await readCluster(at("provisioner", "cluster.toml"));
    const connection = await connectBus({
      servers: cluster.servers,
      name: "provisioner",
      loginFile: at("provisioner", "login.nk"),
      tls: cluster.tlsOf({
        tlsCert: at("provisioner", "cert.pem"),
        tlsKey: at("provisioner", "key.pem"),
      }),
      log: silentLogger,
      timeoutMs: 5000,
    });
    try {
      await work(await jetstreamManager(connection, { checkAPI: false }));
    } finally {
      await connection.close();
    }
  }

  it("gives each participant its own folder, and secrets that only the owner reads", async () => {
    const { code, stdout } = await thsm("init", "--dir", at(), "--compose");
    expect(code).to.equal(0);
    expect(stdout).to.include(`export THSM_DEPLOYMENT=${at()}\n  podman-compose `);
    const member = ["ca.pem", "cert.pem", "cluster.toml", "identity.json", "key.pem", "login.nk"];
    const inFolder = (folder: string, ...names: string[]): string[] =>
      names.map((name) => join(folder, name));
    expect(await filesBelow(at())).to.have.members([
      ...inFolder(
        "auditor",
        ...member,
        "archiver.nk",
        "auditor.toml",
        "nats-archive-context.json",
        "nats-context.json",
      ),
      ...inFolder("ca", "ca.crt", "ca.key"),
      ...inFolder("knot", "knot.conf", "pin", "pkcs11.conf", "threshold.example.zone"),
      ...["n1", "n2", "n3", "n4", "n5"].flatMap((name) => inFolder(name, ...member, "node.toml")),
      ...inFolder(
        "nats",
        "server.conf",
        "tls/ca.crt",
        "tls/route.key",
        "tls/server.crt",
        "tls/server.key",
      ),
      ...inFolder("recovery", "code"),
      ...inFolder("operator", ...member, "operator.toml", "nats-context.json"),
      ...inFolder("pkcs11d", ...member, "client.toml", "pkcs11d.toml"),
      ...inFolder("provisioner", "ca.pem", "cert.pem", "cluster.toml", "key.pem", "login.nk"),
      join("provisioner", "provisioner.toml"),
    ]);
    if (process.geteuid?.() === 0) {
      expect((await stat(at("n1", "login.nk"))).uid, "who the containers run as").to.equal(10001);
      expect((await stat(at("ca", "ca.key"))).uid).to.equal(0);
    }
    const seen = new Set<string>();
    for (const file of await filesBelow(at())) {
      if (!/(\.nk|\.key|key\.pem|identity\.json|pin)$/.test(file)) continue;
      expect((await stat(at(file))).mode & 0o777, file).to.equal(0o600);
      const content = await readFile(at(file), "utf8");
      expect(seen, file).not.to.include(content);
      seen.add(content);
    }
    const cluster = await readCluster(at("n1", "cluster.toml"));
    expect(cluster.servers).to.deep.equal(["tls://nats:4222"]);
    expect(await readFile(at("n1", "node.toml"), "utf8")).to.include('dataDir = "/var/lib/thsm"');
    expect(await readFile(at("nats", "server.conf"), "utf8"))
      .to.include('listen: "0.0.0.0:4222"')
      .and.include("  sync_interval: always");
  });

  it("leaves a directory that is not empty as it was", async () => {
    await mkdir(at());
    await writeFile(at("mine"), "");
    expect(await failure(init({}))).to.match(/is not empty.*ERR_INVALID_ARGUMENT/);
    expect(await readdir(at())).to.deep.equal(["mine"]);
  });

  it("leaves nothing behind when it fails half-way", async () => {
    const failing = fillDirectory(at("deeper"), async () => {
      await mkdir(at("deeper", "n1"));
      await writeFile(at("deeper", "n1", "identity.json"), "");
      throw new Error("disk full");
    });
    expect(await failing.catch(String)).to.equal("Error: disk full");
    expect(await readdir(dir)).to.deep.equal([]);
  });

  for (const [why, flags, expected] of [
    ["a minority that signs", { parties: 4, threshold: 2 }, /more than half/],
    ["plain text beyond loopback", { tls: false, host: ["nats.example"] }, /needs TLS/],
    ["a host that is none", { host: ["not a host"] }, /no host name or address/],
    ["two servers", { host: ["a", "b"] }, /of two, none may be lost/],
    ["more nodes than compose.yaml has", { compose: true, parties: 7 }, /has 5 nodes/],
    ["a zone that is a path", { compose: true, zone: "../x" }, /no domain name/],
    ["a token too long for PKCS#11", { token: "t".repeat(33) }, /32 characters/],
  ] as const) {
    it(`refuses ${why}`, async () => {
      expect(await failure(init(flags))).to.match(expected);
      expect(await readdir(dir)).to.deep.equal([]);
    });
  }

  it("makes streams and consumers over TLS once, and leaves them alone the next time", async () => {
    await init({ parties: 3 });
    await startServers("nats");
    const first = await provision({ limits: { requests: 2 ** 20 } });
    expect(first.nodes).to.deep.equal(["n1", "n2", "n3"]);
    expect(first.streams).to.have.length(5);
    const requests = { name: "THSM_REQ", maxBytes: 2 ** 20, replicas: 1 };
    expect(first.streams[0]).to.deep.equal({ ...requests, done: "created" });
    const { streams } = await provision();
    expect(streams[0]).to.deep.equal({ ...requests, done: "unchanged" });
  });

  it("says what to do when the streams do not fit", async () => {
    await init({ storage: 64 * 2 ** 20 });
    await startServers("nats");
    expect(await failure(provision())).to.match(
      /with 1 of each, the streams reserve 1608 MiB: ask for less, or raise max_file/,
    );
  });

  it("grows a stream only with a permission given for it, and never shrinks one", async () => {
    await init({});
    await startServers("nats");
    await provision();
    const larger = { grow: true, limits: { requests: 300 * 2 ** 20 } };
    expect(await failure(provision(larger))).to.include('add "$JS.API.STREAM.UPDATE.THSM_REQ"');
    const file = join(dir, "run-nats", "nats-server.conf");
    const config = await readFile(file, "utf8");
    const update = '"$JS.API.STREAM.UPDATE.THSM_REQ"\n"$JS.API.INFO"';
    await writeFile(
      file,
      config.replace('"$JS.API.INFO"', () => update),
    );
    await servers[0]?.restart();
    const { streams } = await provision(larger);
    expect(streams[0]).to.include({ maxBytes: 300 * 2 ** 20, done: "grown" });
    const smaller = { grow: true, limits: { requests: 2 ** 20 } };
    expect(await failure(provision(smaller))).to.match(/never downwards/);
  });

  it("brings a cluster of an earlier version in line, and says what it cannot", async () => {
    await init({ parties: 3 });
    await startServers("nats");
    await provision();
    const file = join(dir, "run-nats", "nats-server.conf");
    const config = await readFile(file, "utf8");
    const allowing = async (...subjects: string[]): Promise<void> => {
      const list = ["$JS.API.INFO", ...subjects].map((subject) => JSON.stringify(subject));
      await writeFile(
        file,
        config.replace('"$JS.API.INFO"', () => list.join("\n")),
      );
      await servers[0]?.restart();
    };
    const update = "$JS.API.STREAM.UPDATE.THSM_DEAL";
    const remove = "$JS.API.CONSUMER.DELETE.THSM_REQ.node-n2";
    await allowing(update, remove);
    await asProvisioner(async (manager) => {
      await manager.streams.update("THSM_DEAL", { max_age: 3600e9, allow_direct: false });
      await manager.consumers.delete("THSM_REQ", "node-n2");
      const consumer = { durable_name: "node-n2", filter_subject: "thsm.v1.req.>" };
      const policies = { ack_policy: "explicit", deliver_policy: "new" } as const;
      await manager.consumers.add("THSM_REQ", { ...consumer, ...policies });
    });

    await allowing();
    expect(await failure(provision())).to.match(
      /THSM_DEAL of an earlier version \(max_age = 3600000000000, allow_direct = false\).*add "\$JS\.API\.STREAM\.UPDATE\.THSM_DEAL"/,
    );
    await allowing(update, remove);
    expect(await failure(provision())).to.match(
      /consumer node-n2 of THSM_REQ \(deliver_policy new, expected all\); remove .*Upgrades/,
    );
    await asProvisioner(async (manager) => {
      await manager.consumers.delete("THSM_REQ", "node-n2");
      await manager.streams.update("THSM_DEAL", { max_age: 3600e9 });
    });
    const { streams } = await provision();
    expect(streams.map(({ done }) => done)).to.deep.equal([
      ...Array.from({ length: 4 }, () => "unchanged"),
      "updated",
    ]);
    await allowing();
    expect((await provision()).streams[4]?.done).to.equal("unchanged");
  });

  it("says which file is missing, and that no server answers", async () => {
    expect(await failure(provision())).to.match(/provisioner\.toml: .*ERR_INVALID_CONFIG/);
    await init({ port: await freePort() });
    const { code, stderr } = await thsm("provision", "--dir", at(), "--wait", "1");
    expect(code).to.equal(2);
    expect(stderr).to.match(/waiting for NATS[\s\S]*connection refused.*ERR_BROKER_UNREACHABLE/);
  });

  it("makes three servers that keep three copies", async () => {
    await init({ host: ["127.0.0.1", "127.0.0.2", "127.0.0.3"] });
    expect(await filesBelow(at("nats-2"))).to.include.members([
      "tls/route.key",
      "tls/route-ca.crt",
      "tls/server.key",
    ]);
    await startServers("nats-1", "nats-2", "nats-3");
    const { streams } = await provision();
    expect(streams[0]).to.include({ name: "THSM_REQ", replicas: 3 });
  });
});

async function failure(action: Promise<unknown>): Promise<string> {
  return await action.then(() => "", describeError);
}
