/** @module The record of requests and the checkpoints over it: what survives a crash, and what is refused. */
import { createHash } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  checkpointDigest,
  isSignedBy,
  leafOfMessage,
  leafOfNothing,
  nodeNoteKey,
  originOf,
  parseCheckpoint,
} from "../../src/checkpoint/checkpoint.js";
import { GrowingTree } from "../../src/checkpoint/merkle.js";
import { parseNote } from "../../src/checkpoint/note.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import { silentLogger } from "../../src/log.js";
import { Checkpoints } from "../../src/node/checkpoints.js";
import { LeafFile, type Leaf } from "../../src/node/leaf-file.js";
import { RequestLog } from "../../src/node/request-log.js";
import type { Delivery } from "../../src/streams/consume.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { failure } from "../support/errors.js";
import { eventually } from "./eventually.js";

const hashOf = (seq: number, history = ""): string =>
  createHash("sha256").update(`${history}${seq}`).digest("hex");
const noMessage = {
  stream: "THSM_REQ" as const,
  subject: "",
  payload: new Uint8Array(),
  signature: "",
};
const noPlace = { path: "", offset: 0, length: 0 };
const leaf = (seq: number): Leaf => ({ seq, hash: hashOf(seq) });
const unexpected = (error: Error): void => {
  throw error;
};
const rootOf = (hashes: readonly string[]): string => {
  const tree = new GrowingTree();
  for (const hash of hashes) tree.append(hash === "" ? leafOfNothing : leafOfMessage(hash));
  return tree.root().toString("hex");
};
const upTo = (size: number): string[] => Array.from({ length: size }, (_, at) => hashOf(at + 1));

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "thsm-checkpoints-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("the file of what the stream held", () => {
  it("gives back what was written, in whatever order, and nothing of what a crash has torn", async () => {
    const path = join(dir, "requests");
    const file = await LeafFile.open({ path, gatherMs: 1, onFailure: unexpected });
    const written = [5, 1, 2, 9, 3].map(leaf);
    await Promise.all([...written, { seq: 4, hash: "" }].map((one) => file.write(one)));
    await file.close();
    // The last record half, one in the middle with a byte changed.
    await truncate(path, 8 * 64 + 40);
    const bytes = await open(path, "r+");
    await bytes.write(Buffer.of(0xff), 0, 1, 64);
    await bytes.close();
    const again = await LeafFile.open({ path, gatherMs: 1, onFailure: unexpected });
    const found: Leaf[] = [];
    for await (const one of again.since(1)) found.push(one);
    expect(found).to.deep.equal([leaf(1), leaf(3), { seq: 4, hash: "" }, leaf(5)]);
    expect(await again.read(9)).to.equal(undefined);
    expect(await again.read(1000)).to.equal(undefined);
    await again.write(leaf(2));
    expect(await again.read(2)).to.deep.equal(leaf(2));
    await again.close();
    await failure(again.write(leaf(3)), "ERR_ABORTED");
  });
});

describe("the record of requests", () => {
  const openLog = (onNext = (): void => undefined): Promise<RequestLog> =>
    RequestLog.open({
      gatherMs: 1,
      path: join(dir, "requests"),
      tree: new GrowingTree(),
      onNext,
      onFailure: unexpected,
    });

  it("is the tree of the stream, in whatever order requests come and come again", async () => {
    const orders = fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], { minLength: 10 });
    await fc.assert(
      fc.asyncProperty(orders, orders, async (one, other) => {
        const log = await openLog();
        const all = [...one, ...other].map((seq) => log.take({ ...leaf(seq), storedAt: seq }));
        await Promise.all(all);
        expect(log.tree.root().toString("hex")).to.equal(rootOf(upTo(10)));
        expect(log.missing).to.equal(undefined);
        await log.close();
        const again = await openLog();
        expect(again.tree.root().toString("hex")).to.equal(rootOf(upTo(10)));
        await again.close();
        await rm(join(dir, "requests"));
      }),
      { numRuns: 5 },
    );
  });

  it("stops before a gap and goes on when it is filled, also by what is no message", async () => {
    const log = await openLog();
    await Promise.all([1, 2, 4, 5].map((seq) => log.take({ ...leaf(seq), storedAt: 0 })));
    expect([log.tree.size, log.missing]).to.deep.equal([2, 3]);
    await log.take({ seq: 3, hash: "", storedAt: 0 });
    const hashes = upTo(5).with(2, "");
    expect(log.tree.root().toString("hex")).to.equal(rootOf(hashes));
    await log.close();
  });

  it("finds another message at a place it knows: on disk, on its way there, behind a gap", async () => {
    const log = await openLog();
    const other = (seq: number): Promise<void> =>
      log.take({ seq, hash: hashOf(seq, "other"), storedAt: 0 });
    const writing = log.take({ ...leaf(1), storedAt: 0 });
    await failure(other(1), "ERR_AUDIT_MISMATCH");
    await writing;
    await failure(other(1), "ERR_AUDIT_MISMATCH");
    await log.take({ ...leaf(7), storedAt: 0 });
    await failure(other(7), "ERR_AUDIT_MISMATCH");
    await failure(other(2_000_000), "ERR_AUDIT_MISMATCH");
    await failure(other(0), "ERR_AUDIT_MISMATCH");
    await log.close();
  });
});

describe("a node's checkpoints", () => {
  const { cluster } = new HistoryBuilder();
  const key = new IdentityKey(new Uint8Array(32).fill(3));
  const noteKey = nodeNoteKey(cluster.name, "ada", key.publicKey);
  const minute = 60_000;
  let said: Record<string, unknown>[];
  let now: number;

  async function start(): Promise<Checkpoints> {
    const checkpoints = await Checkpoints.open({
      dataDir: dir,
      node: "ada",
      cluster,
      key,
      intervalMs: minute,
      log: silentLogger,
      gatherMs: 1,
      onFailure: unexpected,
      now: () => now,
    });
    checkpoints.speakBy({
      say: (_stream, _subject, body) => {
        said.push({ ...body });
        const entry = {
          n: 1,
          prev: "",
          time: "",
          message: { ...noMessage, hash: "" },
          place: noPlace,
        };
        return Promise.resolve({ entry, stored: Promise.resolve() });
      },
    });
    return checkpoints;
  }
  /** Resolves when the request is acknowledged. */
  const take = (to: Checkpoints, seq: number, time: number, history = ""): Promise<void> =>
    new Promise((resolve, reject) => {
      const message = {
        ...noMessage,
        seq,
        hash: hashOf(seq, history),
        time: new Date(time).toISOString(),
      };
      const retry = (): void => reject(new Error("delivered again"));
      const delivery: Delivery = { message, ack: resolve, retry };
      to.take(delivery, ({ ack }) => ack());
    });
  const heads = (): object[] =>
    said.map(({ note }) => {
      const read = parseNote(String(note));
      expect(isSignedBy(read, noteKey)).to.equal(true);
      const { size, root } = parseCheckpoint(read.text);
      return { size, root: Buffer.from(root).toString("hex") };
    });
  const sizesSaid = (): unknown[] => said.map(({ size }) => size);
  const signed = (count: number): Promise<true> =>
    eventually(`${count} checkpoints`, () => said.length === count || undefined);

  beforeEach(() => {
    said = [];
    now = 1_000_000 * minute;
  });

  it("are over what was stored in an interval, whoever counts, and over the last when it is over", async () => {
    const checkpoints = await start();
    const times = [0, 10, 20, 70, 80, 200].map((seconds) => now + seconds * 1000);
    now += 3 * minute;
    for (const [at, time] of times.entries()) await take(checkpoints, at + 1, time);
    await signed(2);
    checkpoints.tick();
    expect(said.length).to.equal(2);
    now += 2 * minute;
    checkpoints.tick();
    checkpoints.tick();
    await signed(3);
    const sizes = [3, 5, 6];
    expect(heads()).to.deep.equal(sizes.map((size) => ({ size, root: rootOf(upTo(size)) })));
    await checkpoints.close();
  });

  it("go on where they were after a crash", async () => {
    const first = await start();
    for (const seq of [1, 2, 3]) await take(first, seq, now + (seq === 3 ? minute : 0));
    await signed(1);
    // Not closed: killed. What was acknowledged is on disk.
    const second = await start();
    await take(second, 3, now + minute);
    await take(second, 4, now + minute);
    now += 5 * minute;
    second.tick();
    await signed(2);
    expect(heads().at(-1)).to.deep.equal({ size: 4, root: rootOf(upTo(4)) });
    expect(second.conflict).to.equal("");
    await first.close();
    await second.close();
  });

  it("are what the node signs with others, also after a crash, until history is another one", async () => {
    const digestOf = (size: number, hashes = upTo(size)): string => {
      const root = Buffer.from(rootOf(hashes), "hex");
      return checkpointDigest({ origin: originOf(cluster.name), size, root });
    };
    const first = await start();
    await failure(() => first.requireSigned([digestOf(1)]), "ERR_REFUSED_BY_POLICY");
    for (let seq = 1; seq <= 70; seq++) await take(first, seq, now + seq * minute);
    now += 100 * minute;
    first.tick();
    await eventually("the checkpoint of 70", () => sizesSaid().includes(70) || undefined);
    const second = await start();
    for (const node of [first, second]) {
      node.requireSigned([digestOf(70)]);
      const other = upTo(70).toSpliced(3, 1, hashOf(4, "other"));
      for (const wrong of [digestOf(71), digestOf(70, other), "00".repeat(32)]) {
        await failure(() => node.requireSigned([wrong]), "ERR_REFUSED_BY_POLICY");
        await failure(() => node.requireSigned([digestOf(70), wrong]), "ERR_REFUSED_BY_POLICY");
      }
    }
    await take(second, 2, now, "other");
    await failure(() => second.requireSigned([digestOf(70)]), "ERR_AUDIT_MISMATCH");
    await first.close();
    await second.close();
  });

  it("end for good when the stream shows another history, and the node says where", async () => {
    const first = await start();
    for (const seq of [1, 2, 3]) await take(first, seq, now);
    await take(first, 2, now, "other");
    expect(first.conflict).to.match(/another entry 2 than before/);
    await signed(1);
    expect(said[0]).to.include({ type: "inconsistent", seq: 2 });
    await first.close();
    const second = await start();
    expect(second.conflict).to.match(/another entry 2 than before/);
    now += 5 * minute;
    second.tick();
    await second.close();
    expect(said.length).to.equal(1);
  });

  it("are not taken up from a file that was tampered with", async () => {
    const first = await start();
    await take(first, 1, now);
    await take(first, 2, now + minute);
    await signed(1);
    await first.close();
    const path = join(dir, "checkpoints.json");
    const text = await readFile(path, "utf8");
    await writeFile(
      path,
      text.replace(
        /("subtrees":\[".{63})./,
        (_, kept: string) => `${kept}${text.includes(`${kept}0`) ? 1 : 0}`,
      ),
    );
    await failure(start(), "ERR_JOURNAL");
    await writeFile(path, "{}");
    await failure(start(), "ERR_JOURNAL");
  });
});
