import { expect } from "chai";
import * as fc from "fast-check";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { silentLogger, type Logger } from "../../src/log.js";
import { ckm, ckr } from "../../src/pkcs11-bridge/ckr.js";
import { handlesOf } from "../../src/pkcs11-bridge/objects.js";
import { Reader, Writer } from "../../src/pkcs11-bridge/rpc/codec.js";
import { protocolVersion } from "../../src/pkcs11-bridge/rpc/messages.js";
import { Pkcs11Server, type ServerOptions } from "../../src/pkcs11-bridge/server.js";
import { FakeClient } from "./fake-client.js";
import { helloPayload, RawModule } from "./raw-module.js";

const numRuns = process.env["SLOW"] === "1" ? 2000 : 100;

/** Keeps every line as text. */
class Lines {
  readonly text: string[] = [];
  readonly log: Logger = { ...silentLogger, child: () => this.log };

  constructor() {
    for (const level of ["debug", "info", "warn", "error"] as const) {
      this.log[level] = (facts, event) => void this.text.push(`${event} ${JSON.stringify(facts)}`);
    }
  }
}

function signBody(handle: bigint, token = "dns"): Writer {
  const digest = createHash("sha256").update("text").digest();
  const head = new Writer().text(token).u64(handle);
  return head.u32(ckm.SHA256_RSA_PKCS).u8(3).u8(0).bytes(digest);
}

function keysBody(): Writer {
  return new Writer().text("dns").fixed(Buffer.alloc(16)).u32(0);
}

describe("the daemon", () => {
  let directory: string;
  let socketPath: string;
  let client: FakeClient;
  let isConnected: boolean;
  let lines: Lines;
  let server: Pkcs11Server;
  const modules: RawModule[] = [];

  function makeServer(options: Partial<ServerOptions> = {}): Pkcs11Server {
    return new Pkcs11Server({
      socketPath,
      socketMode: 0o660,
      peers: [],
      maxConnections: 28,
      maxConnectionsPerApplication: 15,
      maxConnectionsPerUser: 20,
      maxCallsPerApplication: 12,
      maxCallsPerUser: 20,
      drainMs: 300,
      log: lines.log,
      client: () => (isConnected ? client : undefined),
      ...options,
    });
  }

  async function open(application?: Uint8Array): Promise<RawModule> {
    const module = await RawModule.open(socketPath, application);
    modules.push(module);
    return module;
  }

  /** A key made behind the daemon's back; the handle of its private half. */
  async function makeKey(): Promise<bigint> {
    const { keyId } = await client.generateKey({ token: "dns", label: "key", modulusBits: 1024 });
    return handlesOf(keyId).privateKey;
  }

  async function expectAlive(): Promise<void> {
    const module = await open();
    const { code } = await module.login("dns", "1234");
    expect(code).to.equal(ckr.OK);
    module.close();
  }

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "thsm-p11-"));
    socketPath = join(directory, "daemon.sock");
    client = new FakeClient({ tokens: ["dns", "other"] });
    isConnected = true;
    lines = new Lines();
    server = makeServer();
    await server.listen();
  });

  afterEach(async () => {
    for (const module of modules.splice(0)) module.close();
    await server.close();
    rmSync(directory, { recursive: true });
  });

  describe("and its socket", () => {
    it("has the permissions that were asked for", () => {
      expect(statSync(socketPath).mode & 0o777).to.equal(0o660);
    });

    it("does not push away a daemon that lives", async () => {
      const error = await makeServer()
        .listen()
        .catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "ERR_INVALID_CONFIG");
      await open();
    });

    it("does not delete what is not a socket", async () => {
      const path = join(directory, "file");
      writeFileSync(path, "precious");
      const error = await makeServer({ socketPath: path })
        .listen()
        .catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "ERR_INVALID_CONFIG");
      expect(statSync(path).size).to.equal(8);
    });

    it("is not put where everybody may replace it", async () => {
      chmodSync(directory, 0o777);
      const error = await makeServer({ socketPath: join(directory, "other.sock") })
        .listen()
        .catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "ERR_UNTRUSTED_FILE");
    });

    it("turns away connections beyond the limit, with a word", async () => {
      const crowd = await Promise.all(Array.from({ length: 20 }, () => open()));
      const late = await RawModule.dial(socketPath);
      late.send(helloPayload());
      expect((await late.receive())?.at(-1)).to.equal(2);
      expect(await late.receive()).to.equal(undefined);
      crowd[0]?.close();
      await delay(20);
      await open();
    });
  });

  describe("and hostile peers", () => {
    it("closes on random bytes, at any point, and serves the next one", async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ minLength: 5, maxLength: 300 }),
          fc.boolean(),
          async (noise, polite) => {
            const module = polite ? await open() : await RawModule.dial(socketPath);
            module.socket.end(noise);
            while ((await module.receive()) !== undefined);
          },
        ),
        { numRuns },
      );
      await expectAlive();
    });

    it("closes on a well-framed request with a body of noise, and counts it", async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(fc.nat(255), fc.uint8Array({ maxLength: 100 }), async (op, body) => {
          const module = await open();
          module.request(op, body, 50);
          module.socket.end();
          while ((await module.receive()) !== undefined);
        }),
        { numRuns },
      );
      expect(lines.text.filter((line) => line.startsWith("malformed message")).length).to.be.above(
        numRuns / 2,
      );
      await expectAlive();
    });

    it("closes on a second request during a call, and on trailing bytes", async () => {
      const handle = await makeKey();
      const impatient = await open();
      await impatient.login("dns", "1234");
      impatient.request(5, signBody(handle).finish());
      impatient.request(5, signBody(handle).finish());
      expect(await impatient.receive()).to.equal(undefined);
      const verbose = await open();
      verbose.request(3, new Writer().text("dns").u8(0).finish());
      expect(await verbose.receive()).to.equal(undefined);
    });

    it("answers a hash or a salt that does not exist", async () => {
      const module = await open();
      for (const [hash, salt] of [
        [6, 0],
        [255, 0],
        [3, 65],
      ] as const) {
        const mechanism = new Writer().u32(ckm.SHA256_RSA_PKCS).u8(hash).u8(salt);
        const body = new Writer().text("dns").u64(1n).fixed(mechanism.finish());
        const { code } = await module.call("sign", body.bytes(Buffer.alloc(32)));
        expect(code).to.equal(ckr.MECHANISM_PARAM_INVALID);
      }
      await expectAlive();
    });

    it("says which version it speaks to a module of another one", async () => {
      const module = await RawModule.dial(socketPath);
      module.send(helloPayload(randomBytes(16), 7));
      const welcome = await module.receive();
      expect(welcome?.readUInt16BE(8)).to.equal(protocolVersion);
      expect(welcome?.at(-1)).to.equal(1);
      expect(await module.receive()).to.equal(undefined);
    });
  });

  describe("and logins", () => {
    it("lets nobody sign on another application's login", async () => {
      const handle = await makeKey();
      const [a, b] = [await open(), await open()];
      expect((await a.login("dns", "1234")).code).to.equal(ckr.OK);
      expect((await b.call("sign", signBody(handle))).code).to.equal(ckr.USER_NOT_LOGGED_IN);
      expect((await a.call("sign", signBody(handle))).code).to.equal(ckr.OK);
      expect((await b.call("destroy", new Writer().text("dns").u64(handle))).code).to.equal(
        ckr.USER_NOT_LOGGED_IN,
      );
    });

    it("keeps logins to one token from another", async () => {
      const handle = await makeKey();
      const module = await open();
      await module.login("other", "1234");
      expect((await module.call("sign", signBody(handle))).code).to.equal(ckr.USER_NOT_LOGGED_IN);
      await module.login("dns", "1234");
      expect((await module.call("sign", signBody(handle, "other"))).code).to.equal(
        ckr.KEY_HANDLE_INVALID,
      );
      expect((await module.call("sign", signBody(handle, "none"))).code).to.equal(
        ckr.TOKEN_NOT_RECOGNIZED,
      );
    });

    it("shares a login among the sockets of one application", async () => {
      const handle = await makeKey();
      const application = randomBytes(16);
      const [first, second] = [await open(application), await open(application)];
      await first.login("dns", "1234");
      first.close();
      await delay(20);
      expect((await second.call("sign", signBody(handle))).code).to.equal(ckr.OK);
    });

    it("ends a login with the last socket, and locks the identity", async () => {
      const handle = await makeKey();
      const application = randomBytes(16);
      const module = await open(application);
      const { body } = await module.login("dns", "1234");
      module.close();
      await delay(20);
      expect(client.unlocked).to.equal(false);
      const again = await open(application);
      expect((await again.call("sign", signBody(handle))).code).to.equal(ckr.USER_NOT_LOGGED_IN);
      const ticket = new Reader(body).bytes();
      const resumed = await again.call("resume", new Writer().text("dns").bytes(ticket));
      expect(resumed.code).to.equal(ckr.OK);
      expect((await again.call("sign", signBody(handle))).code).to.equal(ckr.OK);
    });

    it("keeps the identity open as long as anybody is logged in", async () => {
      const [a, b] = [await open(), await open()];
      await a.login("dns", "1234");
      await b.login("dns", "1234");
      await a.call("logout", new Writer().text("dns"));
      expect(client.unlocked).to.equal(true);
      await b.call("logout", new Writer().text("dns"));
      expect(client.unlocked).to.equal(false);
    });

    it("tells a wrong PIN from a locked one, and a stale ticket", async () => {
      const module = await open();
      for (let i = 0; i < 3; i++) {
        expect((await module.login("dns", "no")).code).to.equal(ckr.PIN_INCORRECT);
      }
      expect((await module.login("dns", "1234")).code).to.equal(ckr.PIN_LOCKED);
      const resume = new Writer().text("dns").bytes(randomBytes(32));
      expect((await module.call("resume", resume)).code).to.equal(ckr.PIN_INCORRECT);
    });
  });

  describe("and the cluster", () => {
    it("asks modules to come again while it is not connected, or the broker is away", async () => {
      isConnected = false;
      const module = await open();
      expect(await module.call("keys", keysBody())).to.deep.include({
        kind: 2,
        code: ckr.DEVICE_ERROR,
      });
      isConnected = true;
      client.failure = "ERR_BROKER_UNREACHABLE";
      expect((await module.call("keys", keysBody())).kind).to.equal(2);
      client.failure = undefined;
      expect(await module.call("keys", keysBody())).to.deep.include({ kind: 0, code: ckr.OK });
    });

    it("opens one session per application and token, again after a failure", async () => {
      const handle = await makeKey();
      const application = randomBytes(16);
      const [a, b] = [await open(application), await open(application)];
      await a.login("dns", "1234");
      client.failure = "ERR_BROKER_UNREACHABLE";
      // The list of keys is known, so the first thing to fail is the session.
      expect((await a.call("sign", signBody(handle))).kind).to.equal(2);
      client.failure = undefined;
      await Promise.all([a.call("sign", signBody(handle)), b.call("sign", signBody(handle))]);
      expect(client.openedFor).to.deep.equal(["raw[4711]"]);
    });

    it("signs for many sockets at once", async () => {
      client = new FakeClient({ tokens: ["dns"], signDelayMs: 50 });
      const handle = await makeKey();
      const crowd = await Promise.all(Array.from({ length: 8 }, () => open()));
      await Promise.all(crowd.map((module) => module.login("dns", "1234")));
      await Promise.all(crowd.map((module) => module.call("sign", signBody(handle))));
      expect(client.maxInFlight).to.equal(8);
    });

    it("joins resent key generations, names unnamed keys, and prepares the next", async () => {
      client = new FakeClient({ tokens: ["dns"], keygenDelayMs: 1200 });
      const application = randomBytes(16);
      const [a, b] = [await open(application), await open(application)];
      await a.login("dns", "1234");
      const operation = randomBytes(16);
      const body = (): Writer =>
        new Writer()
          .text("dns")
          .fixed(operation)
          .text("")
          .bytes(Uint8Array.of(0xab, 1))
          .u16(1024)
          .u8(0);
      const [first, second] = await Promise.all([
        a.call("generate", body()),
        b.call("generate", body()),
      ]);
      expect(first.code).to.equal(ckr.OK);
      expect(second.body.equals(first.body)).to.equal(true);
      expect(client.generations).to.equal(1);
      expect(client.prepared).to.deep.equal([1024]);
      expect((await client.keys("dns"))[0]?.label).to.equal("ab01");
    });

    it("shows that it lives during a long call", async () => {
      client = new FakeClient({ tokens: ["dns"], signDelayMs: 1300 });
      const handle = await makeKey();
      const module = await open();
      await module.login("dns", "1234");
      module.request(5, signBody(handle).finish());
      expect((await module.receive())?.[4]).to.equal(1);
      expect((await module.receive())?.[4]).to.equal(0);
    });

    it("lists more keys than fit a frame, page by page", async function () {
      this.timeout(60_000);
      const module = await open();
      const { keyId } = await client.generateKey({ token: "dns", label: "key", modulusBits: 1024 });
      const [key] = await client.keys("dns");
      if (key === undefined) throw new Error("no key");
      const many = Array.from({ length: 3000 }, (_, i) => ({
        ...key,
        keyId: i.toString(16).padStart(8, "0") + keyId.slice(8),
      }));
      client.keys = async () => many;
      client.keysRevision++;
      let first = 0;
      let revision = Buffer.alloc(16);
      for (let total = 1; first < total;) {
        const body = new Writer().text("dns").fixed(Buffer.alloc(16)).u32(first);
        const reader = new Reader((await module.call("keys", body)).body);
        revision = Buffer.from(reader.fixed(16));
        expect(reader.u8()).to.equal(1);
        total = reader.u32();
        first += reader.u16();
      }
      expect(first).to.equal(6000);
      const unchanged = new Writer().text("dns").fixed(revision).u32(0);
      expect((await module.call("keys", unchanged)).body.length).to.equal(17);
    });
  });

  describe("when it ends", () => {
    it("finishes the call under way and takes no more", async () => {
      client = new FakeClient({ tokens: ["dns"], signDelayMs: 100 });
      const handle = await makeKey();
      const module = await open();
      await module.login("dns", "1234");
      const signing = module.call("sign", signBody(handle));
      await delay(30);
      // Idle sockets, which a module leaves open, must not hold it up.
      await open();
      const startedAt = Date.now();
      const closing = server.close();
      expect((await signing).code).to.equal(ckr.OK);
      await closing;
      expect(Date.now() - startedAt).to.be.below(250);
      expect(await RawModule.dial(socketPath).catch(() => "gone")).to.equal("gone");
    });

    it("cuts off what takes too long, without an answer", async () => {
      client = new FakeClient({ tokens: ["dns"], signDelayMs: 60_000 });
      const handle = await makeKey();
      const module = await open();
      await module.login("dns", "1234");
      const signing = module.call("sign", signBody(handle)).catch((error: Error) => error.message);
      await delay(30);
      await server.close();
      expect(await signing).to.equal("closed");
    });
  });

  it("logs neither PINs nor tickets nor what is signed", async () => {
    const handle = await makeKey();
    const module = await open();
    await module.login("dns", "wrong-secret");
    const { body } = await module.login("dns", "1234");
    await module.call("sign", signBody(handle));
    client.failure = "ERR_QUORUM_NOT_REACHED";
    await module.call("sign", signBody(handle));
    const everything = lines.text.join("\n");
    expect(everything).to.contain("logged in").and.contain("ERR_QUORUM_NOT_REACHED");
    const digest = createHash("sha256").update("text").digest();
    for (const secret of [new Reader(body).bytes(), digest]) {
      for (const encoding of ["hex", "base64", "base64url"] as const) {
        expect(everything).not.to.contain(secret.toString(encoding));
      }
    }
    expect(everything).not.to.contain("wrong-secret").and.not.contain('"1234"');
  });
});
