/** @module Who may connect, whatever the socket's permissions say. Needs root, as CI has. */
import { chmodSync, cpSync } from "node:fs";
import { expect } from "chai";
import { Bench, buildModule, modulePath, pin } from "./harness.js";

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
