/**
 * @module What the programs above the module live through: a daemon that is killed again and again under two of them at
 * once, and a cluster that is gone for good.
 */
import { expect } from "chai";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TestCluster } from "./cluster.js";
import { Knot } from "./knot.js";
import { buildApplication } from "./sign-loop.js";
import { until } from "./until.js";

const isSlow = process.env["SLOW"] === "1";
/** For a daemon that a busy machine starts. */
const patienceMs = 120_000;

/** What a busy machine may add. */
const slackMs = 4000;
const needsNodes = new Set(["C_Sign", "C_SignFinal", "C_Decrypt", "C_GenerateKeyPair"]);

/** The table of docs/pkcs11.md: seconds by call. Calls that are not in it do not wait. */
function readDeadlines(settings: Readonly<Record<string, number>>): Map<string, number> {
  const page = readFileSync(new URL("../../../docs/pkcs11.md", import.meta.url), "utf8");
  const section = page.split("\n## ").find((one) => one.startsWith("Deadlines\n")) ?? "";
  const found = new Map<string, number>();
  for (const row of section.split("\n")) {
    const [, calls = "", deadline = ""] = row.split("|").map((cell) => cell.trim());
    for (const [call] of calls.matchAll(/(first )?C_\w+/g)) {
      const terms = deadline.split("+").map((term) => /`([a-z-]+)`|([\d.]+) s/.exec(term) ?? []);
      const seconds = terms.map(([, name, number]) => settings[name ?? ""] ?? Number(number));
      expect(
        seconds.every((one) => one > 0),
        row,
      ).to.equal(true);
      found.set(
        call,
        seconds.reduce((sum, one) => sum + one),
      );
    }
  }
  expect(found.size, "the table of docs/pkcs11.md").to.be.above(10);
  return found;
}

/** A configuration for ods-hsmspeed, which reads nothing of it but the repository. */
function writeOpendnssecConf(cluster: TestCluster): string {
  const path = cluster.path("conf.xml");
  writeFileSync(
    path,
    `<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <RepositoryList>
    <Repository name="thsm">
      <Module>${cluster.module}</Module>
      <TokenLabel>dns</TokenLabel>
      <PIN>${cluster.pin}</PIN>
    </Repository>
  </RepositoryList>
</Configuration>
`,
  );
  return path;
}

describe("programs above the PKCS#11 module", function () {
  this.timeout(isSlow ? 1_800_000 : 400_000);
  let cluster: TestCluster;
  let knot: Knot;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    // The tests count what the daemons say of each signature.
    const more = 'allowSha1 = true\nlogLevel = "debug"\n';
    appendFileSync(`${cluster.dir}/client/pkcs11d.toml`, `\n${more}`);
    await cluster.processes.stop("pkcs11d");
    await cluster.up();
    mkdirSync(cluster.path("k"), { recursive: true });
    // Longer than a loaded machine takes to start a daemon: that is what the programs wait for.
    cluster.env["THSM_PKCS11_TIMEOUT"] = "120";
    knot = await Knot.create(cluster, { kskSize: 1024, zskSize: 1024, delegations: 100 });
    knot.start();
    await knot.finishSigning();
  });
  after(async () => {
    await knot.stop();
    await cluster.close();
  });

  it("lose no signature when the daemon is killed under eight threads and a Knot", async () => {
    const conf = writeOpendnssecConf(cluster);
    const kills = isSlow ? 20 : 3;
    // So many signatures that the last kill still finds some to be made.
    const each = isSlow ? 200 : 40;
    const parameters = ["-c", conf, "-r", "thsm", "-i", String(each), "-s", "1024", "-t", "8"];
    const speed = cluster.adopt(spawn("ods-hsmspeed", parameters, { env: cluster.env }));
    const said: string[] = [];
    speed.stdout.setEncoding("utf8").on("data", (text: string) => said.push(text));
    speed.stderr.setEncoding("utf8").on("data", (text: string) => said.push(text));
    const ended = once(speed, "exit");
    const signed = async (program: string): Promise<number> =>
      (await cluster.log("pkcs11d")).split(`${program}[`).filter((line) => /"op":"sign"/.test(line))
        .length;
    await until("ods-hsmspeed signs", async () => (await signed("ods-hsmspeed")) > 0, patienceMs);
    const before = await signed("knotd");
    const knotEnds = (async () => {
      do {
        await knot.beginSigning();
        // It makes a few signatures in each daemon's life.
        await knot.finishSigning(kills * patienceMs);
      } while (speed.exitCode === null);
    })();
    await Promise.race([
      knotEnds,
      until("Knot signs", async () => (await signed("knotd")) > before, patienceMs),
    ]);
    let killed = 0;
    for (; killed < kills; killed++) {
      // Each daemon has signed for both, and dies over the next ones.
      const [ours, knots] = [await signed("ods-hsmspeed"), await signed("knotd")];
      await until(
        "both sign again",
        async () =>
          speed.exitCode !== null ||
          ((await signed("ods-hsmspeed")) > ours && (await signed("knotd")) > knots),
        patienceMs,
      );
      if (speed.exitCode !== null) break;
      await cluster.kill("pkcs11d");
      await cluster.up();
    }
    const [code] = (await ended) as [number | null];
    // What the last daemons said of it.
    const log = (await cluster.log("pkcs11d")).split("\n").slice(-40).join("\n");
    expect(code, `${said.join("")}\n${log}`).to.equal(0);
    expect(killed).to.equal(kills);
    expect(said.join("")).to.match(/8 threads, .*signatures per thread/);
    expect(said.join("")).not.to.match(/error|fail/i);
    await knotEnds;
  });

  it("have every answer by its deadline while the cluster is gone", async () => {
    const [timeout, keygenTimeout] = isSlow ? [5, 10] : [1, 2];
    const deadlines = readDeadlines({ timeout, "keygen-timeout": keygenTimeout });
    const opener = ["--keypairgen", "--key-type", "rsa:1024", "--usage-decrypt"];
    expect((await cluster.pkcs11Tool(...opener)).code).to.equal(0);
    const program = await buildApplication(cluster, "deadlines");
    const conf = cluster.path("deadlines.conf");
    const text = readFileSync(cluster.env["THSM_PKCS11_CONF"] ?? "", "utf8");
    writeFileSync(conf, `${text}\nkeygen-timeout = ${keygenTimeout}\n`);
    const env = { ...cluster.env, THSM_PKCS11_CONF: conf, THSM_PKCS11_TIMEOUT: `${timeout}` };
    // Their cluster gone is one thing, a daemon that says nothing at all another.
    for (const away of isSlow ? ["nats", "pkcs11d"] : ["nats"]) {
      const child = cluster.adopt(spawn(program, [cluster.module, cluster.pin], { env }));
      const said: string[] = [];
      child.stdout.setEncoding("utf8").on("data", (more: string) => said.push(more));
      const complaints: string[] = [];
      child.stderr.setEncoding("utf8").on("data", (more: string) => complaints.push(more));
      const ended = once(child, "close");
      await until("it is ready", () => said.length > 0 || child.exitCode !== null);
      const pid = (await cluster.processes.find(away)) ?? 0;
      process.kill(pid, "SIGSTOP");
      child.stdin.end("\n");
      const [code] = (await ended) as [number | null];
      process.kill(pid, "SIGCONT");
      expect(code, complaints.join("") + said.join("")).to.equal(0);
      const lines = said.join("").trim().split("\n").slice(1);
      const called = lines.map((line) => /^(.*) (0x[0-9a-f]+) (\d+)$/.exec(line) ?? []);
      expect(called.map(([, name]) => name)).to.include.members([...deadlines.keys()]);
      for (const [, name = "", rv, ms] of called) {
        const seconds = deadlines.get(name) ?? 0;
        expect(Number(ms), `${name} without ${away}: ${rv}`).to.be.at.most(
          seconds * 1000 + slackMs,
        );
        if (needsNodes.has(name)) expect(rv, `${name} without ${away}`).not.to.equal("0x0");
      }
    }
  });

  it("end soon after a SIGTERM while the cluster is gone and signatures are wanted", async () => {
    writeOpendnssecConf(cluster);
    await knot.stop();
    // As installed a call waits for half a minute.
    if (isSlow) delete cluster.env["THSM_PKCS11_TIMEOUT"];
    else cluster.env["THSM_PKCS11_TIMEOUT"] = "8";
    knot.mark();
    knot.start();
    await knot.waitFor(/DNSSEC, next signing/);
    await cluster.processes.kill("nats");
    await knot.beginSigning();
    // The first signature waits as for any hiccup; those behind it do not.
    await knot.waitFor(/signing error|failed to/);
    await knot.beginSigning();
    const startedAt = Date.now();
    await knot.stop();
    // Knot.stop() would have killed it after 20 s.
    expect(Date.now() - startedAt).to.be.below(15_000);
    // It waits for the cluster a moment, too.
    const sign = ["--sign", "--mechanism", "SHA256-RSA-PKCS", "-i", cluster.path("conf.xml")];
    const access = ["--module", cluster.module, "--token-label", "dns", "--pin", cluster.pin];
    const tool = cluster.adopt(
      spawn("pkcs11-tool", [...access, ...sign], { env: cluster.env, stdio: "ignore" }),
    );
    const toolEnded = once(tool, "exit");
    await sleep(500);
    tool.kill("SIGTERM");
    await toolEnded;
    expect(tool.signalCode).to.equal("SIGTERM");
  });
});
