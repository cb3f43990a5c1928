import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { connect, nkeyAuthenticator, type NatsConnection } from "nats";
import { renderNatsConfig, type TlsFiles } from "../../src/cli/nats-config.js";
import { Authority, createTlsKey, type Certificate, type TlsUsage } from "../../src/cli/tls.js";
import { startNatsServer, type NatsServer } from "../support/nats-server.js";
import { exampleInput, keyPairs, type Member } from "./example-cluster.js";

interface TlsCertificates {
  readonly ca: Certificate;
  readonly routeCa: Certificate;
  readonly servers: Readonly<Record<string, Certificate>>;
  readonly routes: Readonly<Record<string, Certificate>>;
  readonly members: Readonly<Record<string, Certificate>>;
}

const hosts = ["127.0.0.1", "localhost"];

function createTls(servers: readonly string[], members: readonly string[]): TlsCertificates {
  const ca = Authority.create("members");
  const routeCa = Authority.create("routes");
  const issue = (issuer: Authority, names: readonly string[], usage: TlsUsage) =>
    Object.fromEntries(
      names.map((name) => {
        const { key, request } = createTlsKey(name);
        const subject = { name, hosts: usage === "member" ? [] : hosts, usage };
        return [name, { key, cert: issuer.certify(request, subject) }];
      }),
    );
  return {
    ca: ca.pem,
    routeCa: routeCa.pem,
    servers: issue(ca, servers, "server"),
    routes: issue(routeCa, servers, "route"),
    members: issue(ca, members, "member"),
  };
}

describe("TLS between servers and members", function () {
  this.timeout(60_000);
  const dir = mkdtempSync(join(tmpdir(), "thsm-tls-"));
  const servers: NatsServer[] = [];
  const keys = keyPairs();
  let tls: TlsCertificates;
  let strangers: TlsCertificates;

  before(() => {
    tls = createTls(["s1", "s2", "s3"], ["provisioner", "alice"]);
    strangers = createTls([], ["alice"]);
  });

  afterEach(() => Promise.all(servers.splice(0).map((server) => server.stop())));
  after(() => rm(dir, { recursive: true, force: true }));

  /** Writes what one end of TLS needs, and says where. */
  const files = async (name: string, ca: Certificate, own?: Certificate): Promise<TlsFiles> => {
    await mkdir(dir, { recursive: true });
    const paths = { cert: `${name}.crt`, key: `${name}.key`, ca: `${name}-ca.crt` };
    const at = { cert: join(dir, paths.cert), key: join(dir, paths.key), ca: join(dir, paths.ca) };
    await writeFile(at.cert, own?.cert ?? "");
    await writeFile(at.key, own?.key ?? "", { mode: 0o600 });
    await writeFile(at.ca, ca.cert);
    return at;
  };

  const login = (
    url: string,
    member: Member,
    ca: Certificate,
    own?: Certificate,
  ): Promise<NatsConnection> =>
    connect({
      servers: url,
      authenticator: nkeyAuthenticator(keys[member].getSeed()),
      inboxPrefix: `_INBOX_${member}`,
      reconnect: false,
      tls: { ca: ca.cert, ...(own === undefined ? {} : { cert: own.cert, key: own.key }) },
    });

  it("makes certificates that OpenSSL's strict rules accept", async () => {
    const at = await files("strict", tls.ca, tls.servers["s1"]);
    const check = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", at.ca, at.cert];
    expect((await promisify(execFile)("openssl", check)).stdout).to.match(/: OK\n$/);
    const certificate = new X509Certificate(tls.servers["s1"]?.cert ?? "");
    expect(certificate.subjectAltName).to.equal("IP Address:127.0.0.1, DNS:localhost");
    expect(certificate.ca).to.equal(false);
  });

  it("certifies requests that OpenSSL understands, for who has the key", async () => {
    const { request } = createTlsKey("alice");
    const file = join(dir, "alice.csr");
    await mkdir(dir, { recursive: true });
    await writeFile(file, request);
    const shown = await promisify(execFile)("openssl", [
      "req",
      "-verify",
      "-noout",
      "-subject",
      "-in",
      file,
    ]);
    expect(shown.stdout + shown.stderr)
      .to.match(/verify OK/i)
      .and.match(/CN ?= ?alice/);
    const ca = Authority.create("members");
    const subject = { name: "alice", hosts: [], usage: "member" } as const;
    const der = Buffer.from(request.split("\n").slice(1, -2).join(""), "base64");
    // From behind the outermost header into the middle of the signature.
    for (let i = 4; i < der.length - 30; i += 7) {
      const changed = Buffer.from(der);
      changed.writeUInt8(changed.readUInt8(i) ^ 1, i);
      const lines = changed.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
      const pem = request.replace(/\n[^-]+\n/, () => `\n${lines}\n`);
      expect(() => ca.certify(pem, subject), `byte ${i}`).to.throw(/no certificate request/);
    }
    expect(() => ca.certify("", subject)).to.throw(/no certificate request/);
    const again = new Authority(ca.pem);
    expect(new X509Certificate(again.certify(request, subject)).subject).to.equal("CN=alice");
    expect(() => new Authority({ ...ca.pem, key: createTlsKey("x").key })).to.throw(/no CA/);
  });

  it("lets in who shows a certificate of the members' CA, and nobody else", async () => {
    const config = renderNatsConfig({
      ...exampleInput(keys, join(dir, "single")),
      tls: await files("s1", tls.ca, tls.servers["s1"]),
    });
    const server = await startNatsServer({ config, dir: join(dir, "run") });
    servers.push(server);
    const alice = tls.members["alice"];
    expect(await outcome(login(server.url, "alice", tls.ca, alice))).to.equal("connected");
    expect(await outcome(login(server.url, "alice", tls.ca))).not.to.equal("connected");
    const stranger = strangers.members["alice"];
    expect(await outcome(login(server.url, "alice", tls.ca, stranger))).not.to.equal("connected");
    const route = tls.routes["s1"];
    expect(await outcome(login(server.url, "alice", tls.ca, route))).not.to.equal("connected");
    expect(await outcome(login(server.url, "alice", strangers.ca, alice))).to.match(/certificate/i);
  });

  it("carries a replicated stream over three servers, and survives the loss of one", async () => {
    const names = ["s1", "s2", "s3"];
    const ports = await freePorts(names.length);
    for (const [index, name] of names.entries()) {
      const config = renderNatsConfig({
        ...exampleInput(keys, join(dir, name)),
        serverName: name,
        tls: await files(name, tls.ca, tls.servers[name]),
        cluster: {
          name: "thsm",
          host: "127.0.0.1",
          port: ports[index] ?? 0,
          routes: ports.filter((_, other) => other !== index).map((port) => `127.0.0.1:${port}`),
          tls: await files(`${name}-route`, tls.routeCa, tls.routes[name]),
        },
      });
      servers.push(await startNatsServer({ config, dir: join(dir, `run-${name}`) }));
    }
    const [first, , last] = servers;
    if (first === undefined || last === undefined) throw new Error("three servers expected");
    const provisioner = await login(last.url, "provisioner", tls.ca, tls.members["provisioner"]);
    const manager = await jetstreamManager(provisioner, { checkAPI: false });
    const request = {
      name: "THSM_REQ",
      subjects: ["thsm.v1.req.>"],
      num_replicas: 3,
      max_bytes: 2 ** 30,
    };
    await eventually(() => manager.streams.add(request));
    await first.kill();
    const alice = await login(last.url, "alice", tls.ca, tls.members["alice"]);
    const stored = await eventually(() => jetstream(alice).publish("thsm.v1.req.alice.s.r", "?"));
    expect(stored.stream).to.equal("THSM_REQ");
    await Promise.all([provisioner.close(), alice.close()]);
  });
});

async function outcome(connecting: Promise<NatsConnection>): Promise<string> {
  try {
    await (await connecting).close();
    return "connected";
  } catch (error) {
    return String(error);
  }
}

/** Repeats until it works: electing a leader takes a moment. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(200);
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const listeners = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(listeners.map((listener) => once(listener, "listening")));
  const ports = listeners.map((listener) => {
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(listeners.map((listener) => listener.close() && once(listener, "close")));
  return ports;
}
