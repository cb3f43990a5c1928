/** @module Applications that live on while the daemon dies, and what a logout ends. */
import { expect } from "chai";
import { readFileSync, writeFileSync } from "node:fs";
import type { KeyInfo } from "../../src/client/index.js";
import type { OpName } from "../../src/pkcs11-bridge/rpc/ops.js";
import { FrameProxy } from "../support/frame-proxy.js";
import { Chance } from "../support/random.js";
import { run } from "../support/run.js";
import { TestCluster } from "./cluster.js";
import { buildApplication, SignLoop } from "./sign-loop.js";
import { until } from "./until.js";

describe("an application of the PKCS#11 module", function () {
  this.timeout(process.env["SLOW"] === "1" ? 1_800_000 : 180_000);
  let cluster: TestCluster;
  let program: string;
  let key: KeyInfo;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    program = await buildApplication(cluster, "sign-loop");
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

  it("gets once what it asked for, wherever the daemon dies over it", async () => {
    const target = cluster.path("c", "pkcs11d.sock");
    const conf = readFileSync(cluster.env["THSM_PKCS11_CONF"] ?? "", "utf8");
    const proxy = await FrameProxy.listen(cluster.path("proxy.sock"), target);
    writeFileSync(cluster.path("proxy.conf"), conf.replaceAll(target, cluster.path("proxy.sock")));
    writeFileSync(cluster.path("data"), "data");
    const login = ["--module", cluster.module, "--token-label", "dns", "--pin", cluster.pin];
    const env = { ...cluster.env, THSM_PKCS11_CONF: cluster.path("proxy.conf") };
    const isSlow = process.env["SLOW"] === "1";
    const moments = isSlow ? (["the request", "the answer"] as const) : (["the answer"] as const);
    const chance = new Chance("deaths");

    /** Runs pkcs11-tool, and kills the daemon once: some time after the request, or when its answer is ready. */
    async function dying(op: OpName, after: "the request" | "the answer", ...what: string[]) {
      const pid = (await cluster.processes.find("pkcs11d")) ?? 0;
      let isDead = false;
      const die = (): false => {
        process.kill(pid, "SIGKILL");
        isDead = true;
        return false;
      };
      proxy.hooks = {
        onRequest: (one) => {
          if (one !== op || isDead || after === "the answer") return;
          setTimeout(die, chance.below(op === "generate" ? 1500 : 60));
        },
        onReply: (one) => isDead || one !== op || after === "the request" || die(),
      };
      const running = run("pkcs11-tool", [...login, ...what], { env });
      await until(`${op} is interrupted`, () => isDead);
      proxy.hooks = {};
      await cluster.up();
      const { code, text } = await running;
      expect(code, `${op}, killed after ${after}: ${text}`).to.equal(0);
    }

    for (let round = 0; round < (isSlow ? 20 : 1); round++) {
      for (const after of moments) {
        const make = ["--keypairgen", "--key-type", "rsa:1024", "--id", "77"];
        await dying("generate", after, ...make);
        const keys = async (): Promise<number> =>
          (await cluster.thsmJson<{ id: string; state: string }[]>("key", "list")).filter(
            ({ id, state }) => id === "77" && state === "active",
          ).length;
        expect(await keys()).to.equal(1);
        await dying("destroy", after, "--delete-object", "--type", "privkey", "--id", "77");
        expect(await keys()).to.equal(0);

        const label = ["--type", "data", "--label", "once"];
        await dying("store", after, "--write-object", cluster.path("data"), ...label);
        const objects = async (): Promise<number> =>
          (await cluster.pkcs11Tool("--list-objects", "--type", "data")).text.split("'once'")
            .length - 1;
        expect(await objects()).to.equal(1);
        await dying("destroy", after, "--delete-object", ...label);
        expect(await objects()).to.equal(0);
      }
    }
    proxy.close();
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
