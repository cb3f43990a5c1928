/** @module Applications that live on while the daemon dies, and what a logout ends. */
import { expect } from "chai";
import type { KeyInfo } from "../../src/client/index.js";
import { TestCluster } from "./cluster.js";
import { buildSignLoop, SignLoop } from "./sign-loop.js";
import { until } from "./until.js";

describe("an application of the PKCS#11 module", function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let program: string;
  let key: KeyInfo;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    program = await buildSignLoop(cluster);
    key = await cluster.makeKey("demo", 1024);
  });
  after(() => cluster.close());

  it("survives five deaths of the daemon during 200 signatures", async () => {
    const loop = new SignLoop(cluster, program, key, 200, "signatures");
    for (const count of [10, 50, 90, 130, 170]) {
      await until(`${count} signatures`, () => loop.count >= count || loop.child.exitCode !== null);
      await cluster.kill("pkcs11d");
      expect(loop.count).to.be.lessThan(200);
      await cluster.up();
    }
    expect(await loop.end(), loop.said).to.equal(0);
    expect(loop.count).to.equal(200);
    expect(loop.wrong).to.deep.equal([]);
  });

  it("may log out without disturbing another; the last one to go locks the client", async () => {
    const locks = async (): Promise<number> =>
      (await cluster.log("pkcs11d")).split("identity locked").length - 1;
    const before = await locks();
    const one = new SignLoop(cluster, program, key, 5, "one", "logout");
    const other = new SignLoop(cluster, program, key, 400, "other", "logout");
    await until("one is ready", () => one.said.includes("ready"));
    await until("the other signs", () => other.count > 5);
    one.sayGoOn();
    await until("one is logged out", () => one.said.includes("out"));
    const counted = other.count;
    expect(counted).to.be.lessThan(400);
    // It is refused after its own logout (sign-loop.c), and the other is not.
    await until("the other has signed on", () => other.said.includes("ready"));
    expect(other.wrong).to.deep.equal([]);
    expect(await locks()).to.equal(before);
    other.sayGoOn();
    await until("the other is logged out", () => other.said.includes("out"));
    await until("the client is locked", async () => (await locks()) === before + 1);
    one.sayGoOn();
    other.sayGoOn();
    expect([await one.end(), await other.end()]).to.deep.equal([0, 0]);
  });

  it("that dies without a logout leaves the client locked too", async () => {
    const locks = async (): Promise<number> =>
      (await cluster.log("pkcs11d")).split("identity locked").length - 1;
    const before = await locks();
    const loop = new SignLoop(cluster, program, key, 10_000, "dying");
    await until("it signs", () => loop.count > 3);
    loop.child.kill("SIGKILL");
    await loop.end();
    await until("the client is locked", async () => (await locks()) === before + 1);
  });

  it("leaves a clean history", async () => {
    const { code, text } = await cluster.thsm("audit", "verify");
    expect(code, text).to.equal(0);
  });
});
