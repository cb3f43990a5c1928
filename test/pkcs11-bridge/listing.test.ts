/** @module Programs that look at every key: what that costs in calls of the daemon. */
import { expect } from "chai";
import { rmSync } from "node:fs";
import { FrameProxy } from "../support/frame-proxy.js";
import { Bench, buildModule, modulePath, type Outcome } from "./harness.js";

/** Key pairs, and how many bytes of theirs make a round trip. */
const pairs = process.env["SLOW"] === "1" ? 5000 : 300;
const pageBytes = 256 * 1024;
/** What both halves of a key take on the wire. */
const pairBytes = 2300;

describe(`a list of ${pairs} key pairs`, function () {
  this.timeout(process.env["SLOW"] === "1" ? 600_000 : 120_000);
  let bench: Bench;
  let proxy: FrameProxy;

  before(async () => {
    await buildModule();
    bench = new Bench(60);
    const { socket } = bench;
    bench.socket = bench.path("behind.sock");
    await bench.startDaemon({ keyCount: pairs });
    rmSync(socket, { force: true });
    proxy = await FrameProxy.listen(socket, bench.socket);
  });
  after(async () => {
    proxy.close();
    await bench.close();
  });

  // As many calls as the bytes of the list need; a few to log in; one for each search whether the list has changed.
  const fixed = Math.ceil((pairs * pairBytes) / pageBytes) + 12;
  it("costs pkcs11-tool no call for a key: it searches once", async () => {
    await list(() => bench.pkcs11Tool("--list-objects"), 2);
    expect(proxy.total).to.be.at.most(fixed);
  });

  // Logged in, it logs in anew for each object: with its --login it is no tool for many keys.
  it("costs p11tool no call for an attribute: it searches for each public key's partner", async () => {
    const tool = ["--batch", "--provider", modulePath, "--list-all", "pkcs11:token=dns"];
    await list(() => bench.run("p11tool", tool), 1);
    expect(proxy.total).to.be.at.most(fixed + 2 * pairs);
  });

  async function list(program: () => Promise<Outcome>, halves: number): Promise<void> {
    proxy.requests.clear();
    const { code, stdout, stderr } = await program();
    expect(code, stderr).to.equal(0);
    for (const label of ["key 0", `key ${pairs - 1}`]) {
      expect(stdout.match(new RegExp(`label:? +${label}$`, "gim")), label).to.have.length(halves);
    }
    expect(proxy.requests.get("keys")).to.be.at.least(1);
  }
});
