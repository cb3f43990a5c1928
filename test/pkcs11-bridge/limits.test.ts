import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, type Logger } from "../../src/log.js";
import { ckm, ckr } from "../../src/pkcs11-bridge/ckr.js";
import { handlesOf } from "../../src/pkcs11-bridge/objects.js";
import { Writer } from "../../src/pkcs11-bridge/rpc/codec.js";
import { frame } from "../../src/pkcs11-bridge/rpc/framing.js";
import { encodeWelcome } from "../../src/pkcs11-bridge/rpc/messages.js";
import { Pkcs11Server } from "../../src/pkcs11-bridge/server.js";
import { FakeClient } from "./fake-client.js";
import { Bench, buildModule, pin } from "./harness.js";
import { helloPayload, RawModule, type RawReply } from "./raw-module.js";

const maxConnections = 16;
const maxConnectionsPerUser = 12;
const maxConnectionsPerApplication = 6;
const maxCallsPerApplication = 2;
const maxCallsPerUser = 4;

describe("the daemon's limits for one application and one user", function () {
  this.timeout(60_000);
  let directory: string;
  let socketPath: string;
  let client: FakeClient;
  let server: Pkcs11Server;
  let handle: bigint;
  const logged: string[] = [];
  const modules: RawModule[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "thsm-p11-"));
    chmodSync(directory, 0o755);
    socketPath = join(directory, "daemon.sock");
    client = new FakeClient({ tokens: ["dns"], signDelayMs: 500 });
    const log: Logger = { ...silentLogger, child: () => log };
    log.warn = (facts, event) => void logged.push(`${event} ${JSON.stringify(facts)}`);
    server = new Pkcs11Server({
      socketPath,
      socketMode: 0o666,
      peers: "modes",
      maxConnections,
      maxConnectionsPerApplication,
      maxConnectionsPerUser,
      maxCallsPerApplication,
      maxCallsPerUser,
      drainMs: 300,
      log,
      client: () => client,
    });
    await server.listen();
    const { keyId } = await client.generateKey({ token: "dns", label: "key", modulusBits: 1024 });
    handle = handlesOf(keyId).privateKey;
  });

  afterEach(async () => {
    for (const module of modules.splice(0)) module.close();
    await server.close();
    rmSync(directory, { recursive: true });
    logged.splice(0);
  });

  /** What the daemon says to one more connection: 0 is welcome, 2 too many. */
  async function knock(application: Uint8Array): Promise<number | undefined> {
    const module = await RawModule.dial(socketPath);
    modules.push(module);
    module.send(helloPayload(application));
    return (await module.receive())?.at(-1);
  }

  async function loggedIn(count: number): Promise<RawModule[]> {
    const application = randomBytes(16);
    const opened: RawModule[] = [];
    for (let i = 0; i < count; i++) opened.push(await RawModule.open(socketPath, application));
    modules.push(...opened);
    expect((await opened[0]?.login("dns", pin))?.code).to.equal(ckr.OK);
    return opened;
  }

  function sign(module: RawModule, timeoutMs = 30_000): Promise<RawReply> {
    const digest = createHash("sha256").update("text").digest();
    const head = new Writer().text("dns").u64(handle);
    const body = head.u32(ckm.SHA256_RSA_PKCS).u8(3).u8(0).bytes(digest);
    return module.call("sign", body, timeoutMs);
  }

  it("give a greedy application its share of the connections, and say so once", async () => {
    const greedy = randomBytes(16);
    for (let i = 0; i < maxConnectionsPerApplication; i++) {
      expect(await knock(greedy)).to.equal(0);
    }
    expect(await knock(greedy)).to.equal(2);
    expect(await knock(greedy)).to.equal(2);
    expect(await knock(randomBytes(16))).to.equal(0);
    const lines = logged.filter((line) => line.includes("application at its limit"));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include("maxConnectionsPerApplication");
  });

  it("keep the last quarter of a user's connections for applications that have none", async () => {
    const [first, second] = [randomBytes(16), randomBytes(16)];
    for (let i = 0; i < 6; i++) expect(await knock(first)).to.equal(0);
    for (let i = 0; i < 3; i++) expect(await knock(second)).to.equal(0);
    expect(await knock(second)).to.equal(2);
    for (let i = 0; i < 3; i++) expect(await knock(randomBytes(16))).to.equal(0);
    expect(await knock(randomBytes(16))).to.equal(2);
  });

  it("let a modest application sign before the greedy one is through", async () => {
    const greedy = await loggedIn(6);
    const [modest] = await loggedIn(1);
    if (modest === undefined) throw new Error("no module");
    const order: string[] = [];
    const crowd = greedy.map(async (module) => {
      const { code } = await sign(module);
      order.push("greedy");
      return code;
    });
    const { code } = await sign(modest);
    order.push("modest");
    expect(code).to.equal(ckr.OK);
    expect(await Promise.all(crowd)).to.deep.equal(Array.from({ length: 6 }, () => ckr.OK));
    // Three rounds of two calls: the modest one needed no more than the first.
    expect(order.indexOf("modest")).to.be.below(4);
    expect(client.maxInFlight).to.equal(maxCallsPerApplication + 1);
    expect(logged.join()).to.include("maxCallsPerApplication");
  });

  it("let a call wait for those of the user's other applications", async () => {
    const crowd = (await Promise.all([1, 2, 3].map(() => loggedIn(2)))).flat();
    for (const { code } of await Promise.all(crowd.map((module) => sign(module)))) {
      expect(code).to.equal(ckr.OK);
    }
    expect(client.maxInFlight).to.equal(maxCallsPerUser);
    expect(logged.join()).to.include("maxCallsPerUser");
  });

  // Whoever may become another user, as CI.
  if (process.geteuid?.() === 0) {
    it("leave connections and calls to another user, whatever names a program gives itself", async () => {
      for (let i = 0; i < 2 * maxConnections; i++) {
        expect(await knock(randomBytes(16))).to.equal(i < maxConnectionsPerUser ? 0 : 2);
      }
      const lines = logged.filter((line) => line.includes("user at the limit"));
      expect(lines).to.have.length(1);
      expect(lines[0]).to.include("maxConnectionsPerUser");
      await asNobody(async () => {
        const modest = randomBytes(16);
        expect(await knock(modest)).to.equal(0);
        // The last quarter is for users who have none.
        expect(await knock(modest)).to.equal(2);
      });
      modules.splice(0).forEach((module) => module.close());

      const crowd = (await Promise.all([1, 2, 3].map(() => loggedIn(2)))).flat();
      const busy = crowd.map((module) => sign(module));
      const [modest] = await asNobody(() => loggedIn(1));
      if (modest === undefined) throw new Error("no module");
      expect((await sign(modest)).code).to.equal(ckr.OK);
      expect(client.maxInFlight).to.equal(maxCallsPerUser + 1);
      await Promise.all(busy);
    });

    it("are not a door: another user with the same id is another application", async () => {
      const application = randomBytes(16);
      const own = await RawModule.open(socketPath, application);
      modules.push(own);
      expect((await own.login("dns", pin)).code).to.equal(ckr.OK);
      expect((await sign(own)).code).to.equal(ckr.OK);
      const other = await asNobody(() => RawModule.open(socketPath, application));
      modules.push(other);
      expect((await sign(other)).code).to.equal(ckr.USER_NOT_LOGGED_IN);
    });
  }

  it("hang up on a user whose connections say nothing", async () => {
    for (let i = 0; i < maxConnectionsPerUser; i++) {
      modules.push(await RawModule.dial(socketPath));
    }
    const late = await RawModule.dial(socketPath);
    modules.push(late);
    expect(await late.receive()).to.equal(undefined);
    modules[0]?.close();
    // It takes a moment for the daemon to see that.
    let greeting: number | undefined;
    while (greeting === undefined) greeting = await knock(randomBytes(16));
    expect(greeting).to.equal(0);
  });

  it("answer a call that got no turn in time, and give its turn to nobody's loss", async () => {
    client = new FakeClient({ tokens: ["dns"], signDelayMs: 1000 });
    const { keyId } = await client.generateKey({ token: "dns", label: "key", modulusBits: 1024 });
    handle = handlesOf(keyId).privateKey;
    const [a, b, late, patient] = await loggedIn(4);
    if (!a || !b || !late || !patient) throw new Error("no module");
    const first = [sign(a), sign(b)];
    const refused = sign(late, 50);
    const waiting = sign(patient);
    expect(await refused).to.include({ kind: 0, code: ckr.DEVICE_MEMORY });
    for (const { code } of await Promise.all([...first, waiting])) expect(code).to.equal(ckr.OK);
    expect(client.signs).to.equal(3);
  });

  it("do not make a call whose caller has gone", async () => {
    const [a, b, gone, last] = await loggedIn(4);
    if (!a || !b || !gone || !last) throw new Error("no module");
    const first = [sign(a), sign(b)];
    gone.request(
      5,
      new Writer()
        .text("dns")
        .u64(handle)
        .u32(ckm.RSA_PKCS)
        .u8(0)
        .u8(0)
        .bytes(Buffer.alloc(8))
        .finish(),
    );
    gone.close();
    const after = sign(last);
    for (const { code } of await Promise.all([...first, after])) expect(code).to.equal(ckr.OK);
    expect(client.signs).to.equal(3);
  });
});

/** What connects meanwhile is nobody's to the kernel. */
async function asNobody<T>(act: () => Promise<T>): Promise<T> {
  process.seteuid?.(65534);
  try {
    return await act();
  } finally {
    process.seteuid?.(0);
  }
}

describe("the module at the daemon's limit", function () {
  // The build may be the first.
  this.timeout(180_000);
  let bench: Bench;

  before(buildModule);
  afterEach(() => bench.close());

  it("lets its threads wait for each other", async () => {
    bench = new Bench(60);
    await bench.startDaemon({ maxConnectionsPerApplication: 2 });
    const { code, stderr } = await bench.scenario("plain", "threads", "5");
    expect(code, stderr).to.equal(0);
  });

  it("answers CKR_DEVICE_MEMORY when it stays so", async () => {
    bench = new Bench(1);
    const full = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(frame(encodeWelcome("busy"))));
    });
    await new Promise<void>((resolve) => full.listen(bench.socket, resolve));
    try {
      const { stdout, stderr } = await bench.pkcs11Tool("-O");
      expect(stdout + stderr, stdout + stderr).to.include("CKR_DEVICE_MEMORY");
    } finally {
      full.close();
    }
  });
});
