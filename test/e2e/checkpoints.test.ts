/** @module Checkpoints of a real cluster: made, kept elsewhere, proven and verified without our code. */
import { createHash } from "node:crypto";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import {
  checkpointDigest,
  checkpointText,
  parseCheckpoint,
} from "../../src/checkpoint/checkpoint.js";
import { parseNote } from "../../src/checkpoint/note.js";
import type { HsmClient, KeyInfo, SigningSession } from "../../src/client/index.js";
import { failure } from "../support/errors.js";
import { run, type Outcome } from "../support/run.js";
import { TestCluster } from "./cluster.js";

const page = fileURLToPath(new URL("../../../docs/checkpoints.md", import.meta.url));
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** The commands of the page, by the name that their first line gives them. */
async function recipe(name: string): Promise<string> {
  const text = await readFile(page, "utf8");
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block = ""]) => block);
  const [found, ...more] = blocks.filter((block) => block.startsWith(`# ${name}\n`));
  expect(more, name).to.deep.equal([]);
  return found ?? expect.fail(`no recipe ${name}`);
}

describe("checkpoints of a real cluster", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let client: HsmClient;
  let session: SigningSession;
  let zsk: KeyInfo;
  let audit: KeyInfo;
  let directory: string;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    directory = cluster.path("kept");
    for (const node of ["n1", "n2", "n3"]) {
      await cluster.kill(node);
      const file = join(cluster.dir, "nodes", node, "node.toml");
      await writeFile(file, `checkpointSeconds = 1\n${await readFile(file, "utf8")}`);
      await cluster.startNode(node);
    }
    client = await cluster.client();
    zsk = await client.generateKey({ token: "dns", label: "zsk", modulusBits: 1024 });
    const policy = { encodings: ["checkpoint"], hashes: ["sha256"] } as const;
    audit = await client.generateKey({ token: "dns", label: "audit", modulusBits: 1024, policy });
    session = await client.openSession("dns", "test");
    await signSome(3);
    await cluster.run("mkdir", directory);
    await cp(join(cluster.dir, "auditor", "cluster.toml"), join(directory, "cluster.toml"));
    const pem = await cluster.thsmJson<{ pem: string }>("key", "show", "--pem", "audit");
    await writeFile(join(directory, "cluster.pem"), pem.pem);
  });
  after(async () => {
    await session?.close();
    await client?.close();
    await cluster?.close();
  });

  async function signSome(count: number): Promise<void> {
    const input = { keyId: zsk.keyId, encoding: "pkcs1v15", hash: "sha256" } as const;
    for (let i = 0; i < count; i++) await session.sign({ ...input, data: digest(String(i)) });
  }

  /** A checkpoint of all nodes over at least so many requests, as soon as there is one. */
  async function checkpoint(file: string, least: number, ...flags: string[]): Promise<void> {
    const out = join(directory, file);
    for (;;) {
      const made = await cluster.thsm(
        "audit",
        "checkpoint",
        "--witnesses",
        "3",
        "--out",
        out,
        ...flags,
      );
      if (made.code === 0) {
        const note = parseNote(await readFile(out, "utf8"));
        if (parseCheckpoint(note.text).size >= least) return;
      } else expect(made.text).to.contain("no checkpoint is signed by 3 nodes yet");
    }
  }

  function shell(script: string): Promise<Outcome> {
    return run("sh", ["-euc", `cd '${directory}'; ${script}`], { env: cluster.env });
  }

  it("are the same for all nodes, and on the cluster's signature too", async () => {
    // Two keys' tests and three signatures.
    await checkpoint("monday.checkpoint", 5);
    await signSome(1);
    await checkpoint("today.checkpoint", 6, "--threshold", "audit");
    const { signatures } = parseNote(await readFile(join(directory, "today.checkpoint"), "utf8"));
    const names = ["dev/n1", "dev/n2", "dev/n3", `dev/${audit.keyId}`];
    expect(signatures.map(({ name }) => name)).to.have.members(names);
    const kept = join(directory, "today.checkpoint");
    const verified = await cluster.thsm("audit", "verify", "--checkpoint", kept);
    expect(verified.code, verified.text).to.equal(0);
  });

  it("are signed by the cluster only when the nodes have made them themselves", async () => {
    const { text } = parseNote(await readFile(join(directory, "today.checkpoint"), "utf8"));
    const honest = parseCheckpoint(text);
    const forged = { ...honest, root: digest("another history") };
    expect(checkpointText(honest)).to.equal(text);
    const ask = (keyId: string, encoding: "checkpoint" | "pkcs1v15", data: string) =>
      session.sign({ keyId, encoding, hash: "sha256", data: Buffer.from(data, "hex") });
    await failure(
      ask(audit.keyId, "checkpoint", checkpointDigest(forged)),
      "ERR_REFUSED_BY_POLICY",
    );
    await failure(ask(audit.keyId, "pkcs1v15", checkpointDigest(honest)), "ERR_REFUSED_BY_POLICY");
    await failure(ask(zsk.keyId, "checkpoint", checkpointDigest(honest)), "ERR_REFUSED_BY_POLICY");
    expect(await ask(audit.keyId, "checkpoint", checkpointDigest(honest))).to.have.length(128);
  });

  it("have a key that PKCS#11 shows as one that signs nothing", async () => {
    const { code, text } = await cluster.pkcs11Tool("--list-objects", "--type", "privkey");
    expect(code, text).to.equal(0);
    const usage = (label: string): string =>
      new RegExp(`label: +${label}\\n[^]*?Usage: *(.*)`).exec(text)?.[1] ?? expect.fail(text);
    expect(usage("zsk")).to.contain("sign");
    expect(usage("audit")).to.not.contain("sign");
  });

  it("prove what they are over, also of an export", async () => {
    const inFile = (name: string): string => join(directory, name);
    const [monday, today] = [inFile("monday.checkpoint"), inFile("today.checkpoint")];
    const exported = await cluster.thsm("audit", "export", cluster.path("export"));
    expect(exported.code, exported.text).to.equal(0);
    const prove = (...flags: string[]) => cluster.thsm("audit", "prove", ...flags);
    const from = ["--checkpoint", today, "--out"];
    const offline = ["--offline", cluster.path("export")];
    const first = await prove("inclusion", "4", ...from, inFile("4711.proof"));
    expect(first.code, first.text).to.equal(0);
    const again = await prove("inclusion", "4", ...from, inFile("again.proof"), ...offline);
    expect(again.code, again.text).to.equal(0);
    expect(await readFile(inFile("again.proof"))).to.deep.equal(
      await readFile(inFile("4711.proof")),
    );
    const week = await prove(
      "consistency",
      monday,
      today,
      "--out",
      inFile("week.proof"),
      ...offline,
    );
    expect(week.code, week.text).to.equal(0);
    for (const proof of ["4711.proof", "week.proof"]) {
      const checked = await cluster.thsm("audit", "check-proof", inFile(proof));
      expect(checked.code, checked.text).to.equal(0);
      expect(checked.text).to.match(/^HOLDS: /);
    }
    const text = await readFile(inFile("4711.proof"), "utf8");
    await writeFile(inFile("wrong.proof"), text.replace(/"seq": 4/, '"seq": 3'));
    expect((await cluster.thsm("audit", "check-proof", inFile("wrong.proof"))).code).to.equal(3);
    expect((await cluster.thsm("audit", "check-proof", inFile("absent.proof"))).code).to.equal(2);
  });

  it("are verified with the page's commands, which find what was changed", async () => {
    const [node, key, inclusion] = [
      await recipe("a node's signature"),
      await recipe("the cluster's signature"),
      await recipe("an inclusion proof"),
    ];
    const all = `${node}\n${key}\n${inclusion}`;
    const good = await shell(all);
    expect(good.code, good.text).to.equal(0);
    expect(good.text).to.contain("Signature Verified Successfully");
    expect(good.text).to.contain("Verified OK");
    expect(good.text).to.contain("the request is under the checkpoint");
    const today = await readFile(join(directory, "today.checkpoint"), "utf8");
    const proof = await readFile(join(directory, "4711.proof"), "utf8");
    const write = (file: string, text: string) => writeFile(join(directory, file), text);
    await write("today.checkpoint", today.replace(/^dev\//, "dex/"));
    expect((await shell(node)).code).to.not.equal(0);
    expect((await shell(`sed '/^$/,$d' today.checkpoint > text; ${key}`)).code).to.not.equal(0);
    await write("today.checkpoint", today);
    expect((await shell(all)).code).to.equal(0);
    for (const changed of [
      proof.replace(/"seq": 4/, '"seq": 3'),
      proof.replace(/req\.([^.]+)\./, "req.x$1."),
      proof.replace(/\\"attempt\\":1/, '\\"attempt\\":2'),
    ]) {
      expect(changed).to.not.equal(proof);
      await write("4711.proof", changed);
      expect((await shell(all)).text).to.not.contain("the request is under the checkpoint");
    }
    await write("4711.proof", proof);
  });

  it("find the store put back to an earlier state, which nothing else shows to an auditor", async () => {
    await signSome(2);
    // The export is from before.
    const exported = await readFile(cluster.path("export", "THSM_REQ.ndjson"), "utf8");
    const before = exported.trimEnd().split("\n").length;
    await checkpoint("friday.checkpoint", before + 1, "--threshold", "audit");
    const verify = ["audit", "verify", "--offline", cluster.path("export")];
    const alone = await cluster.thsm(...verify);
    expect(alone.code, alone.text).to.equal(0);
    const kept = join(directory, "friday.checkpoint");
    const found = await cluster.thsm(...verify, "--checkpoint", kept);
    expect(found.code, found.text).to.equal(3);
    expect(found.text).to.contain("AUDIT_CHECKPOINT_BEYOND_STREAM");
    const proof = await cluster.thsm(
      "audit",
      "prove",
      "inclusion",
      "4",
      "--checkpoint",
      kept,
      ...verify.slice(2),
    );
    expect(proof.code, proof.text).to.equal(3);
  });
});
