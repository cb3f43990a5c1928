import { mkdtempSync, rmSync } from "node:fs";
import { appendFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { HsmError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { Journal, verifyJournal } from "../../src/node/journal.js";
import type { JournalEntry } from "../../src/node/journal-segments.js";
import { verifyMessage } from "../../src/streams/envelope.js";
import { streamNames } from "../../src/streams/subjects.js";
import { codeOf, eventually } from "./eventually.js";
import { memoryCluster } from "./memory-cluster.js";

const { cluster, keys } = memoryCluster();
const subject = "thsm.v1.audit.node.n1";

function speak(journal: Journal, text: string): Promise<JournalEntry> {
  const body = { text, time: new Date().toISOString() };
  return journal.speak(streamNames.audit, subject, body);
}

describe("the journal", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "thsm-journal-"))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const open = async (
    segmentBytes = 16 << 20,
    isNeeded: (entry: JournalEntry) => boolean = () => true,
    onFailure: (error: HsmError) => void = () => undefined,
    path = directory,
  ): Promise<{ journal: Journal; recent: JournalEntry[] }> => {
    const log = silentLogger;
    const options = { directory: path, key: keys.n1, cluster, log, segmentBytes, onFailure };
    return await Journal.open(options, isNeeded);
  };
  const write = async (count: number, segmentBytes?: number): Promise<JournalEntry[]> => {
    const { journal } = await open(segmentBytes);
    const entries = [];
    for (let i = 0; i < count; i++) entries.push(await speak(journal, `message ${i}`));
    await journal.close();
    return entries;
  };
  const segments = async (): Promise<string[]> =>
    (await readdir(directory)).toSorted().map((name) => join(directory, name));
  it("chains what is said, signs it, and has it on disk before it resolves", async () => {
    const { journal } = await open();
    const entries = await Promise.all(
      Array.from({ length: 100 }, (_, i) => speak(journal, `message ${i}`)),
    );
    const [path = ""] = await segments();
    expect((await readFile(path, "utf8")).split("\n")).to.have.length(101);
    await journal.close();
    for (const [i, { n, prev, message }] of entries.entries()) {
      expect(n).to.equal(i + 1);
      expect(prev).to.equal(entries[i - 1]?.message.hash ?? "0".repeat(64));
      expect(verifyMessage(cluster, message).name).to.equal("n1");
    }
    expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(100);
  });

  it("goes on after its last message, over any number of files", async () => {
    const before = await write(20, 1000);
    expect(await segments()).to.have.length.greaterThan(3);
    const { journal, recent } = await open(1000);
    expect(recent.map(({ message }) => message.hash)).to.deep.equal(
      before.map(({ message }) => message.hash),
    );
    const next = await speak(journal, "next");
    expect(next).to.include({ n: 21, prev: before.at(-1)?.message.hash });
    await journal.close();
    expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(21);
  });

  it("reads back as far as somebody needs", async () => {
    await write(20, 1000);
    // An old file may be damaged: a start does not read it, a check does.
    const [oldest = ""] = await segments();
    await writeFile(oldest, (await readFile(oldest, "utf8")).replace("message 0", "message X"));
    const { journal, recent } = await open(1000, ({ n }) => n > 15);
    expect(recent.map(({ n }) => n)).to.deep.equal([16, 17, 18, 19, 20]);
    await journal.close();
    expect(await codeOf(verifyJournal(directory, keys.n1, cluster))).to.equal("ERR_JOURNAL");
  });

  it("cuts off a last line that a crash has torn at any byte", async () => {
    const entries = await write(3);
    const [path = ""] = await segments();
    const whole = await readFile(path);
    const lastLine = whole.lastIndexOf(10, -2) + 1;
    for (let length = lastLine; length < whole.length; length++) {
      await writeFile(path, whole.subarray(0, length));
      const { journal, recent } = await open();
      expect(recent.map(({ n }) => n)).to.deep.equal([1, 2]);
      const next = await speak(journal, "next");
      expect(next).to.include({ n: 3, prev: entries[1]?.message.hash });
      await journal.close();
      expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(3);
    }
  }).timeout(20_000);

  it("takes no filler for messages, and no hole for damage, whichever sectors a crash has lost", async () => {
    // Killed while it writes: the filler stays.
    const { journal } = await open();
    for (let i = 0; i < 20; i++) await speak(journal, `message ${i}`);
    const [path = ""] = await segments();
    await eventually("filler", async () => (await readFile(path)).length > 200_000 || undefined);
    const { length: end } = (await readFile(path, "utf8")).trimEnd();
    const late = Array.from({ length: 8 }, (_, i) => speak(journal, `late ${i}`));
    const last = (await Promise.all(late)).at(-1);
    expect((await journal.since(1, "")).at(-1)?.message.hash).to.equal(last?.message.hash);
    const whole = await readFile(path);
    expect(whole.length).to.be.greaterThan(200_000);
    expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(28);
    await journal.close();
    expect((await readFile(path, "utf8")).split("\n")).to.have.length(29);

    const sectors = Math.ceil(whole.toString().trimEnd().length / 512);
    for (let lost = Math.floor(end / 512); lost < sectors; lost++) {
      const torn = Buffer.from(whole);
      torn.fill(" ", Math.max(end + 1, lost * 512), (lost + 1) * 512);
      await writeFile(path, torn);
      const kept = await verifyJournal(directory, keys.n1, cluster);
      expect(kept, `sector ${lost}`).to.be.within(20, 27);
      const again = await open();
      expect(again.recent).to.have.length(kept);
      expect((await speak(again.journal, "next")).n).to.equal(kept + 1);
      await again.journal.close();
      expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(kept + 1);
    }
  }).timeout(20_000);

  it("goes on after a crash between making a file and its first line", async () => {
    await write(2, 1);
    await writeFile(join(directory, "000000000000003.ndjson"), "");
    const { journal } = await open(1);
    expect((await speak(journal, "next")).n).to.equal(3);
    await journal.close();
    expect(await verifyJournal(directory, keys.n1, cluster)).to.equal(3);
  });

  it("refuses a change of any byte of a line that was finished", async () => {
    await write(3);
    const [path = ""] = await segments();
    const whole = await readFile(path);
    const end = whole.length - 1;
    for (let at = 0; at < end; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      await writeFile(path, damaged);
      expect(await codeOf(open()), `byte ${at}`).to.equal("ERR_JOURNAL");
    }
  }).timeout(20_000);

  it("refuses when a file or a line is missing", async () => {
    await write(20, 1000);
    const paths = await segments();
    for (const at of [0, paths.length - 2]) {
      const copy = `${directory}/copy${at}`;
      await mkdir(copy);
      for (const [i, path] of paths.entries()) {
        if (i !== at) await cp(path, join(copy, path.slice(directory.length)));
      }
      const opening = open(1000, () => true, undefined, copy);
      expect(await codeOf(opening)).to.equal("ERR_JOURNAL");
    }
    const newest = paths.at(-1) ?? "";
    const lines = (await readFile(newest, "utf8")).split("\n");
    await writeFile(newest, lines.slice(1).join("\n"));
    expect(await codeOf(open(1000))).to.equal("ERR_JOURNAL");
  });

  it("refuses another identity's journal", async () => {
    await write(1);
    const options = { directory, cluster, log: silentLogger, onFailure: () => undefined };
    const opening = Journal.open({ ...options, key: keys.n2 }, () => true);
    expect(await codeOf(opening)).to.equal("ERR_JOURNAL");
  });

  it("refuses lines of nobody's", async () => {
    await write(1);
    const [path = ""] = await segments();
    await appendFile(path, "{}\n");
    expect(await codeOf(open())).to.equal("ERR_JOURNAL");
  });

  it("says nothing more, and tells it once, when the disk fails", async () => {
    const failures: string[] = [];
    const { journal } = await open(1, undefined, ({ code }) => failures.push(code));
    await speak(journal, "good");
    await rm(directory, { recursive: true });
    const results = await Promise.allSettled([speak(journal, "a"), speak(journal, "b")]);
    expect(results.map(({ status }) => status)).to.deep.equal(["rejected", "rejected"]);
    expect(await codeOf(speak(journal, "c"))).to.equal("ERR_JOURNAL");
    expect(failures).to.deep.equal(["ERR_JOURNAL"]);
  });
});
