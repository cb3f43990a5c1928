import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Bench, buildModule, finished, modulePath, pin } from "./harness.js";

const isSlow = process.env["SLOW"] === "1";

function reply(id: Buffer, body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(9 + body.length);
  return Buffer.concat([length, id, Buffer.from([0, 0, 0, 0, 0]), body]);
}

describe("the PKCS#11 module", function () {
  this.timeout(isSlow ? 600_000 : 180_000);
  let bench: Bench;

  before(buildModule);
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  async function expectScenario(kind: "plain" | "asan", ...parameters: string[]): Promise<string> {
    const { code, stdout, stderr } = await bench.scenario(kind, ...parameters);
    expect(code, stderr).to.equal(0);
    return stdout;
  }

  for (const kind of ["plain", "asan"] as const) {
    describe(`built ${kind}`, () => {
      it("takes every form of C_Initialize", async () => {
        await expectScenario(kind, "initialize");
      });

      it("shows slots and sessions without a daemon, and survives NULL everywhere", async () => {
        await expectScenario(kind, "local");
      });

      it("follows PKCS#11 through the life of a key", async () => {
        await bench.startDaemon();
        await expectScenario(kind, "walk");
      });

      it("lets who has the recovery code set the PIN, and do nothing else", async () => {
        await bench.startDaemon();
        await expectScenario(kind, "officer");
      });

      it("begins anew in a forked child and leaves the parent alone", async () => {
        await bench.startDaemon();
        await expectScenario(kind, "fork");
      });

      it("signs from 16 threads at once", async () => {
        await bench.startDaemon();
        await expectScenario(kind, "threads", isSlow ? "1000" : "20");
      });
    });
  }

  it("survives an application that closes its descriptors", async () => {
    await bench.startDaemon();
    await expectScenario("asan", "closed-descriptors");
  });

  for (const [hash, mechanism] of [
    ["sha1", 0x220],
    ["sha224", 0x255],
    ["sha256", 0x250],
    ["sha384", 0x260],
    ["sha512", 0x270],
  ] as const) {
    it(`computes ${hash} like everybody else`, async () => {
      // Around every place where the padding takes another block, and something long.
      for (const length of [0, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 100_000]) {
        const data = randomBytes(length);
        const child = bench.spawnScenario("digest", String(mechanism));
        child.stdin?.end(data);
        const { stdout, stderr } = await finished(child);
        expect(stdout, stderr).to.equal(createHash(hash).update(data).digest("hex"));
      }
    });
  }

  it("goes on after the daemon was killed in the middle of signing, and leaks nothing", async () => {
    // A loaded machine takes long to start the next daemon, and its kills come between many signatures.
    bench.environment["THSM_PKCS11_TIMEOUT"] = "60";
    await bench.startDaemon({ signDelayMs: 3 });
    const kills = isSlow ? 100 : 3;
    const child = bench.spawnScenario("endurance", String(kills * 1200));
    const outcome = finished(child);
    await once(child.stdout ?? child, "data");
    for (let i = 0; i < kills; i++) {
      await delay(200);
      await bench.stopDaemon(i % 2 === 0 ? "SIGKILL" : "SIGTERM");
      await delay(100);
      await bench.startDaemon({ signDelayMs: 3 });
    }
    const { code, stderr } = await outcome;
    expect(code, stderr).to.equal(0);
    expect(stderr).to.contain("the daemon answers again");
  });

  it("waits out an outage once, not with every call, and signs as soon as it is over", async () => {
    bench.environment["THSM_PKCS11_TIMEOUT"] = "1";
    await bench.startDaemon();
    const outages = isSlow ? 5 : 1;
    const child = bench.spawnScenario("outage", String(outages));
    const outcome = finished(child);
    for (let round = 0; round < outages; round++) {
      await once(child.stdout ?? child, "data");
      const startedAt = Date.now();
      await bench.stopDaemon();
      child.stdin?.write("\n");
      // A thousand calls of a second each would be ended with their program.
      await Promise.race([once(child.stdout ?? child, "data"), outcome]);
      expect(Date.now() - startedAt, "the first one waits").to.be.at.least(1000);
      await bench.startDaemon();
      child.stdin?.write("\n");
    }
    const { code, stderr } = await outcome;
    expect(code, stderr).to.equal(0);
    expect(stderr.match(/fail at once until there is one/g), stderr).to.have.length(outages);
  });

  it("goes on with one call, however many daemons die over it", async () => {
    const traceFile = bench.path("trace");
    writeFileSync(traceFile, "");
    const deaths = isSlow ? 20 : 4;
    bench.programTimeoutMs = deaths * 20_000;
    await bench.startDaemon({ traceFile, keygenDelayMs: 600_000 });
    const making = bench.pkcs11Tool("--keypairgen", "--key-type", "rsa:1024", "--id", "07");
    const over = new AbortController();
    void making.then(() => over.abort());
    for (let begun = 1; begun <= deaths; begun++) {
      const count = (): number => readFileSync(traceFile, "utf8").split("\n").length - 1;
      while (count() < begun && !over.signal.aborted) await delay(20);
      await bench.stopDaemon();
      await bench.startDaemon({ traceFile, keygenDelayMs: begun < deaths ? 600_000 : 0 });
    }
    const { code, stderr } = await making;
    expect(code, stderr).to.equal(0);
    const { stdout } = await bench.pkcs11Tool("--list-objects", "--type", "privkey");
    expect(stdout.match(/Private Key Object/g)).to.have.length(1);
  });

  it("gives up at the deadline when the daemon is there but says nothing", async () => {
    bench.environment["THSM_PKCS11_TIMEOUT"] = "2";
    await bench.startDaemon();
    bench.pauseDaemon();
    const startedAt = Date.now();
    const { code, stderr } = await bench.scenario("asan", "hostile");
    bench.resumeDaemon();
    expect(code, stderr).to.equal(0);
    expect(Date.now() - startedAt).to.be.within(3500, 6000);
  });

  it("does not wait out its timeout for a socket that it may not use, and says what to do", async () => {
    bench.environment["THSM_PKCS11_TIMEOUT"] = "45";
    await bench.startDaemon();
    // Root gets through before the daemon has set the mode.
    while ((statSync(bench.socket).mode & 0o777) === 0) await delay(10);
    chmodSync(bench.socket, 0);
    // Root may connect to anything, unless it is root in name only.
    const nobody = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all"] : ["env"];
    const [program, ...parameters] = [...nobody, "pkcs11-tool", "--module", modulePath];
    const startedAt = Date.now();
    const { code, stderr } = await bench.run(program, [
      ...parameters,
      "--login",
      "--pin",
      pin,
      "-O",
    ]);
    expect(code, stderr).to.equal(1);
    expect(stderr).to.contain("may not connect to the daemon's socket");
    expect(Date.now() - startedAt).to.be.within(5000, 40_000);
  });

  it("tells who sits at a terminal, and writes into no other standard error", async () => {
    delete bench.environment["THSM_PKCS11_DEBUG"];
    rmSync(bench.path("pkcs11.conf"));
    const command = `pkcs11-tool --module ${modulePath} --list-slots`;
    const { stdout } = await bench.run("script", ["-qec", command, "/dev/null"]);
    expect(stdout).to.match(/thsm-pkcs11: no slots: cannot open .*\r\n/);
    expect((await bench.run("sh", ["-c", command])).stderr).not.to.contain("thsm-pkcs11");
    const behind = `set -m; ${command} & wait`;
    const inBackground = await bench.run("script", ["-qec", `sh -c '${behind}'`, "/dev/null"]);
    expect(inBackground.stdout).to.contain("No slots.").and.not.to.contain("thsm-pkcs11");
  });

  it("wakes calls that wait when the application finalizes", async () => {
    await bench.startDaemon({ signDelayMs: 20_000 });
    const startedAt = Date.now();
    const { code, stderr } = await bench.scenario("asan", "finalize-during-calls");
    expect(code, stderr).to.equal(0);
    expect(Date.now() - startedAt).to.be.below(3000);
  });

  it("logs the application out when the PIN was changed behind its back", async () => {
    await bench.startDaemon();
    const child = bench.spawnScenario("stale-ticket");
    const outcome = finished(child);
    await once(child.stdout ?? child, "data");
    await bench.stopDaemon();
    await bench.startDaemon({ pin: "5678" });
    child.stdin?.write("\n");
    const { code, stderr } = await outcome;
    expect(code, stderr).to.equal(0);
  });

  it("has no slots with a wrong configuration, and says so", async () => {
    const conf = bench.path("pkcs11.conf");
    for (const text of [
      "",
      "socket = relative\ntoken = a\n",
      "socket = /a\n",
      "socket = /a\ntoken = \n",
      "socket = /a\ntoken = a\ntoken = a\n",
      "socket = /a\ntoken = a\ntimeout = 0\n",
      "socket = /a\ntoken = a\nsokket = /b\n",
    ]) {
      writeFileSync(conf, text);
      const { stdout, stderr } = await bench.pkcs11Tool("--list-slots");
      expect(stdout).not.to.contain("Slot 0");
      expect(stderr).to.contain("thsm-pkcs11: no slots").and.contain("No slots.");
    }
    rmSync(conf);
    expect((await bench.pkcs11Tool("--list-slots")).stderr).to.contain("cannot open");
  });

  it("finds its slots when the configuration is mended while the application runs", async () => {
    const conf = bench.path("pkcs11.conf");
    const good = readFileSync(conf, "utf8");
    rmSync(conf);
    const child = bench.spawnScenario("configuration");
    const outcome = finished(child);
    await once(child.stdout ?? child, "data");
    writeFileSync(conf, good);
    child.stdin?.write("\n");
    const { code, stderr } = await outcome;
    expect(code, stderr).to.equal(0);
  });

  describe("against a server of garbage", () => {
    const welcome = Buffer.concat([
      Buffer.from([0, 0, 0, 15]),
      Buffer.from("thsm-p11"),
      Buffer.from([0, 2, 0, 0, 0, 0, 0]),
    ]);
    // The answers to the hello and to every request after it.
    const answers: Record<string, (id: Buffer) => Buffer[]> = {
      "noise instead of a welcome": () => [randomBytes(19)],
      "a welcome of another version": () =>
        [welcome.map((byte, i) => (i === 13 ? 3 : byte))].map((b) => Buffer.from(b)),
      "an endless frame": () => [welcome, Buffer.from([0xff, 0xff, 0xff, 0xff])],
      "an empty frame": () => [welcome, Buffer.alloc(4)],
      "a frame that never ends": () => [welcome, Buffer.from([0, 0, 1, 0, 1, 2, 3])],
      "the answer to another request": () => [
        welcome,
        reply(Buffer.from([9, 9, 9, 9]), Buffer.alloc(0)),
      ],
      "a reply without a body": (id) => [welcome, reply(id, Buffer.alloc(0))],
      "a reply of noise": (id) => [welcome, reply(id, randomBytes(200))],
      "a list without objects": (id) => [
        welcome,
        reply(id, Buffer.concat([randomBytes(16), Buffer.from([1, 0, 0, 0, 9, 0, 0])])),
      ],
      "an object with too many attributes": (id) => [
        welcome,
        reply(
          id,
          Buffer.concat([
            randomBytes(16),
            Buffer.from([1, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 255, 255]),
          ]),
        ),
      ],
    };

    for (const [name, answer] of Object.entries(answers)) {
      it(`survives ${name}`, async () => {
        await bench.close();
        bench = new Bench(1);
        const sockets = new Set<Socket>();
        const server = createServer((socket) => {
          sockets.add(socket);
          let isGreeted = false;
          socket.on("error", () => {});
          socket.on("data", (chunk: Buffer) => {
            const [first, second] = answer(chunk.subarray(4, 8));
            socket.write((isGreeted ? second : first) ?? Buffer.alloc(0));
            isGreeted = true;
          });
        }).listen(bench.socket);
        const { code, stderr } = await bench.scenario("asan", "hostile");
        for (const socket of sockets) socket.destroy();
        server.close();
        expect(code, stderr).to.equal(0);
      });
    }
  });
});
