/** @module An older copy of the store put back, and a second server that tells another history: both are found. */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { expect } from "chai";
import { parseCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { parseNote, type Note } from "../../src/checkpoint/note.js";
import {
  connect,
  witnessedCheckpoint,
  type HsmClient,
  type KeyInfo,
} from "../../src/client/index.js";
import { HsmError } from "../../src/errors.js";
import type { Outcome } from "../support/run.js";
import { TestCluster } from "./cluster.js";
import { auditOf, twin, withHistory } from "./history.js";
import { until } from "./until.js";

describe("a history that is not what it was", function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let key: KeyInfo;
  let store: string;
  let older: string;

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    for (const node of ["n1", "n2", "n3"]) {
      await cluster.kill(node);
      const file = join(cluster.dir, "nodes", node, "node.toml");
      await writeFile(file, `checkpointSeconds = 1\n${await readFile(file, "utf8")}`);
      await cluster.startNode(node);
    }
    key = await cluster.makeKey("one", 1024);
    await signAll(await cluster.client(), 2, "before");
    await checkpoint("early");
    await cluster.down();
    store = join(cluster.dir, "nats/store");
    older = cluster.path("older");
    await cp(store, older, { recursive: true });

    await cluster.up();
    await signAll(await cluster.client(), 3, "lost");
    await checkpoint("late");
    const marked = await cluster.thsm("audit", "verify", "--bookmark", cluster.path("mark"));
    expect(marked.code, marked.text).to.equal(0);
  });
  after(() => cluster.close());

  /** Returns how each ended: "signed", or an error's code. */
  async function signAll(
    client: HsmClient,
    count: number,
    text: string,
    timeoutMs = 60_000,
  ): Promise<string[]> {
    const ends: string[] = [];
    try {
      const session = await client.openSession("dns", text);
      for (let i = 0; i < count; i++) {
        const data = createHash("sha256").update(`${text} ${i}`).digest();
        const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
        const end = await session.sign(input, { timeoutMs }).then(
          () => "signed",
          (error: unknown) => (error instanceof HsmError ? error.code : String(error)),
        );
        ends.push(end);
      }
      await session.close();
      return ends;
    } finally {
      await client.close();
    }
  }

  function kept(name: string): string {
    return cluster.path(`${name}.checkpoint`);
  }

  /** Keeps a checkpoint of all nodes over all that is stored. */
  async function checkpoint(name: string): Promise<void> {
    const { THSM_REQ } = await withHistory(cluster, ({ source }) => source.bounds());
    await until("all nodes vouch for all requests", async () => {
      const note = await withHistory(cluster, (history) =>
        witnessedCheckpoint(history.source, history.cluster, 3).catch(() => undefined),
      );
      if (note === undefined || parseCheckpoint(parseNote(note).text).size < THSM_REQ.last) {
        return false;
      }
      await writeFile(kept(name), note);
      return true;
    });
  }

  async function readKept(name: string): Promise<Note> {
    return parseNote(await readFile(kept(name), "utf8"));
  }

  function codesOf({ text }: Outcome): Set<string> {
    return new Set(text.match(/(?<=^FINDING )AUDIT_[A-Z_]+/gm));
  }

  it("on another server is refused by a checkpoint of the first one", async () => {
    const dir = await twin(cluster, "twin", older);
    const audit = (...words: string[]) =>
      cluster.thsm("audit", ...words, "--auditor", join(dir, "auditor/auditor.toml"));
    // The same client is led to ask for more there than here: there are no nodes, but its requests are recorded.
    const client = await connect({ configFile: join(dir, "client/client.toml") });
    (await client.unlock(cluster.pin)).fill(0);
    const ends = await signAll(client, 4, "elsewhere", 700);
    expect(new Set(ends)).to.deep.equal(new Set(["ERR_QUORUM_NOT_REACHED"]));

    // By itself it is a history like any other.
    for (const checkpoints of [[], [await readKept("early")]]) {
      expect((await auditOf({ dir }, { checkpoints })).codes).to.deep.equal([]);
    }
    const split = await audit("verify", "--checkpoint", kept("late"));
    expect(split.code, split.text).to.equal(3);
    const codes = ["AUDIT_CHECKPOINT_NOT_RECORDED", "AUDIT_CHECKPOINT_WRONG_ROOT"];
    expect(codesOf(split)).to.deep.equal(new Set(codes));
    const proof = await audit("prove", "consistency", kept("early"), kept("late"));
    expect(proof.code, proof.text).to.equal(3);
    // The first server's history has both.
    const checkpoints = [await readKept("early"), await readKept("late")];
    expect((await auditOf(cluster, { checkpoints })).codes).to.deep.equal([]);
  });

  it("because its store was put back is found by bookmark and checkpoint, and no node signs on it", async () => {
    await cluster.down();
    await rm(store, { recursive: true });
    await cp(older, store, { recursive: true });
    // The audit starts the server of a cluster that is down.
    const alone = await cluster.thsm("audit", "verify");
    expect(alone.code, alone.text).to.equal(0);
    const flags = ["--bookmark", cluster.path("mark"), "--checkpoint", kept("late")];
    const against = await cluster.thsm("audit", "verify", ...flags);
    expect(against.code, against.text).to.equal(3);
    const codes = [
      "AUDIT_CHECKPOINT_BEYOND_STREAM",
      "AUDIT_CHECKPOINT_NOT_RECORDED",
      "AUDIT_ROLLED_BACK",
    ];
    expect(codesOf(against)).to.deep.equal(new Set(codes));

    await cluster.up();
    const ends = await signAll(await cluster.client(), 1, "after", 3000);
    expect(ends).to.not.include("signed");
    // Those that were shown the later requests say so themselves.
    await until("a node says what it was shown", async () => {
      const after = await auditOf(cluster);
      return after.codes.includes("AUDIT_NODE_INCONSISTENT");
    });
  });
});
