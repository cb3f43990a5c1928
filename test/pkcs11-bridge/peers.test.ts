/** @module Who may connect, whatever the socket's permissions say. Needs root, as CI has. */
import { chmodSync, cpSync, existsSync } from "node:fs";
import { expect } from "chai";
import { silentLogger } from "../../src/log.js";
import { Pkcs11Server } from "../../src/pkcs11-bridge/server.js";
import { Bench, buildModule, modulePath, pin } from "./harness.js";
import { helloPayload, RawModule } from "./raw-module.js";

const nobody = ["--reuid", "65534", "--clear-groups"];

if (process.geteuid?.() === 0) {
  describe("the daemon's peers", function () {
    this.timeout(120_000);
    let bench: Bench;

    before(buildModule);
    beforeEach(() => {
      bench = new Bench(20);
      chmodSync(bench.directory, 0o755);
      // The build may lie below a directory that others cannot enter.
      cpSync(modulePath, bench.path("module.so"));
    });
    afterEach(() => bench.close());

    const login = async (gid: string): Promise<{ code: number; text: string; ms: number }> => {
      const started = performance.now();
      const user = [...nobody, "--regid", gid];
      const tool = ["pkcs11-tool", "--module", bench.path("module.so"), "--token-label", "dns"];
      const what = ["--login", "--pin", pin, "--list-objects"];
      const { code, stdout, stderr } = await bench.run("setpriv", [...user, ...tool, ...what]);
      return { code, text: stdout + stderr, ms: performance.now() - started };
    };

    it("are no strangers, though the socket lets everybody in", async () => {
      await bench.startDaemon({ socketMode: 0o666, peers: [] });
      const { code, text, ms } = await login("65534");
      expect(code, text).to.not.equal(0);
      expect(text)
        .to.match(/refuses the user of this process/)
        .and.match(/CKR_DEVICE_ERROR/);
      // At once, not after the module's patience of 20 s.
      expect(ms).to.be.lessThan(15_000);
    });

    // Root gets in before the socket's mode lets anybody.
    it("are not refused for good when they come too early", async () => {
      for (let round = 0; round < 50; round++) {
        const socketPath = bench.path(`early-${round}.sock`);
        const many = {
          maxConnections: 9,
          maxConnectionsPerUser: 9,
          maxConnectionsPerApplication: 9,
        };
        const server = new Pkcs11Server({
          ...many,
          socketPath,
          socketMode: 0o600,
          peers: [],
          maxCallsPerUser: 9,
          maxCallsPerApplication: 9,
          drainMs: 100,
          log: silentLogger,
          client: () => undefined,
        });
        const listening = server.listen();
        while (!existsSync(socketPath)) await new Promise(setImmediate);
        const module = await RawModule.dial(socketPath);
        module.send(helloPayload());
        const greeting = (await module.receive())?.at(-1);
        await listening;
        module.close();
        await server.close();
        // Welcome, or come again.
        expect(greeting).to.be.oneOf([0, undefined]);
      }
    });

    it("are root, the daemon's own user, and those that are named", async () => {
      await bench.startDaemon({ socketMode: 0o666, peers: ["nobody"] });
      const { code, text } = await login("65534");
      expect(code, text).to.equal(0);
      expect((await bench.pkcs11Tool("--list-objects")).code).to.equal(0);
    });

    it("are the socket's group when its mode says so", async () => {
      await bench.startDaemon({ socketMode: 0o660 });
      const { code, text } = await login("0");
      expect(code, text).to.equal(0);
    });
  });
}
