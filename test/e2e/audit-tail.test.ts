/** @module `thsm audit tail` on a real cluster: what happens is shown while it does, in both forms. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "chai";
import type { KeyInfo, TailLine } from "../../src/client/index.js";
import { HsmError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import { rejection } from "../node/eventually.js";
import { TestCluster, thsmProgram } from "./cluster.js";
import { until } from "./until.js";

/** A `thsm audit tail` that runs. */
class Tail {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";

  constructor(cluster: TestCluster, ...flags: string[]) {
    const all = [thsmProgram, ...flags];
    this.child = cluster.adopt(spawn(process.execPath, all, { env: cluster.env, stdio: "pipe" }));
    this.child.stdout?.on("data", (chunk: Buffer) => (this.stdout += chunk.toString("utf8")));
    this.child.stderr?.on("data", (chunk: Buffer) => (this.stderr += chunk.toString("utf8")));
  }

  /** With --json. */
  get lines(): TailLine[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf("\n") + 1);
    const texts = whole.split("\n").filter((line) => line !== "");
    return texts.map((line) => JSON.parse(line) as TailLine);
  }

  async shows(what: RegExp | ((line: TailLine) => boolean)): Promise<void> {
    const isThere = (): boolean =>
      what instanceof RegExp ? what.test(this.stdout) : this.lines.some(what);
    await until(`${String(what)} in\n${this.stdout}${this.stderr}`, isThere);
  }

  /** Ctrl-C; returns the exit code. */
  async interrupt(): Promise<number | null> {
    this.child.kill("SIGINT");
    const [code] = (await once(this.child, "close")) as [number | null];
    return code;
  }
}

describe("thsm audit tail", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let key: KeyInfo;
  const data = createHash("sha256").update("tail").digest();

  /** Signs until the key's rate is used up, if it has one. */
  async function sign(keyId: string, times: number): Promise<void> {
    const client = await cluster.client();
    try {
      const session = await client.openSession("dns", "tailed\nprogram");
      const question = { keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      for (let i = 0; i < times; i++) await session.sign(question);
    } finally {
      await client.close();
    }
  }

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    key = await cluster.makeKey("before", 1024);
    await sign(key.keyId, 1);
  });
  after(() => cluster.close());

  it("begins with the newest, then shows a key, a signature, a refusal and junk, as text and JSON", async () => {
    const text = new Tail(cluster, "audit", "tail", "--last", "3");
    const json = new Tail(cluster, "--json", "audit", "tail", "--last", "0");
    const failures = new Tail(cluster, "--json", "audit", "tail", "--last", "0", "--failures");
    const ofOne = new Tail(
      cluster,
      "--json",
      "audit",
      "tail",
      "--last",
      "1000",
      "--key",
      key.keyId,
    );
    await text.shows(/(.*\n){3}/);
    expect(text.stdout).to.not.contain("key proposed");
    await ofOne.shows(({ type }) => type === "result");
    // Whoever is told of the new opening is there for all that follows.
    await until("all of them listen", async () => {
      await sign(key.keyId, 1);
      return json.lines.some(({ type }) => type === "result");
    });

    const client = await cluster.client();
    let rare: KeyInfo;
    try {
      const policy = { rate: { signatures: 1, perSeconds: 86_400 } };
      rare = await client.generateKey({ token: "dns", label: "rare", modulusBits: 1024, policy });
    } finally {
      await client.close();
    }
    await rejection(sign(rare.keyId, 3), HsmError);
    const c1 = await connectBus({
      servers: [cluster.env["NATS_URL"] ?? ""],
      name: "c1",
      loginFile: join(cluster.dir, "client", "login.nk"),
      log: silentLogger,
      timeoutMs: 10_000,
    });
    c1.publish(`thsm.v1.audit.client.c1.${"0".repeat(32)}`, "{}");
    await c1.flush();
    await c1.close();

    const ofRare = (line: TailLine): boolean => line.key === rare.keyId && line.label === "rare";
    for (const type of ["proposed", "accepted", "activated", "request", "shares", "refusal"]) {
      await json.shows((line) => ofRare(line) && line.type === type);
    }
    await json.shows((line) => ofRare(line) && line.type === "failure" && line.isFailure);
    await failures.shows(({ type, text: why }) => type === "junk" && why.includes("Thsm-Sig"));
    await failures.shows(({ type, node }) => type === "refusal" && node?.startsWith("n") === true);
    expect(failures.lines.filter(({ isFailure }) => !isFailure)).to.deep.equal([]);
    await text.shows(/JUNK \(AUDIT_BAD_SIGNATURE\) .*Thsm-Sig/);
    await text.shows(/^\S+Z c1 .*"rare" [0-9a-f]{8} key activated/m);
    await text.shows(/^\S+Z c1 .*"rare" [0-9a-f]{8} n\d: REFUSES, ERR_RATE_LIMITED: /m);
    // What an application calls itself makes no lines of its own.
    await text.shows(
      /^\S+Z c1 \(tailed\\u\{a\}program[^\n]*\) "before" .* signed by n\d,n\d in \d+ ms/m,
    );
    for (const { key: of, type } of ofOne.lines) {
      if (type !== "junk") expect(of).to.equal(key.keyId);
    }
    for (const tail of [text, json, failures, ofOne]) {
      expect(await tail.interrupt(), tail.stderr).to.equal(0);
    }
  });

  it("goes on after NATS was away, without a gap and without a repetition; ends with 2 if it is away at the start", async () => {
    const tail = new Tail(cluster, "--json", "audit", "tail", "--last", "5");
    const other = new Tail(cluster, "--json", "audit", "tail", "--last", "5");
    await until("five", () => tail.lines.length >= 5 && other.lines.length >= 5);
    await cluster.kill("nats");
    await until("it says so", () => other.stderr.includes("waiting for it"));
    expect(await other.interrupt(), other.stderr).to.equal(0);
    const late = await cluster.thsm("audit", "tail");
    expect(late.code, late.text).to.equal(2);
    expect(late.text).to.contain("is nats-server running?");
    await cluster.up();
    await sign(key.keyId, 2);
    await tail.shows(({ type, text }) => type === "session-closed" && text.includes("2 requests"));
    const requests = tail.lines.filter(({ stream }) => stream === "THSM_AUDIT");
    const numbers = requests.map(({ seq }) => seq);
    const first = numbers[0] ?? 0;
    expect(numbers).to.deep.equal(numbers.map((_, i) => first + i));
    expect(await tail.interrupt(), tail.stderr).to.equal(0);
  });
});
