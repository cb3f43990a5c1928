import { expect } from "chai";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBookmark, writeBookmark } from "../../../src/client/audit/bookmark.js";
import type { Mark } from "../../../src/client/audit/positions.js";
import { HsmError } from "../../../src/errors.js";
import { audited } from "./audited.js";
import { honestHistory, type HistoryBuilder } from "./history.js";

async function marked(
  history: HistoryBuilder,
  options: { bookmark?: Mark; recombine?: boolean } = {},
): Promise<Awaited<ReturnType<typeof audited>> & { mark: Mark }> {
  let mark: Mark | undefined;
  const result = await audited(history, { ...options, onMark: (made) => (mark = made) });
  if (mark === undefined) throw new TypeError("no mark");
  return { ...result, mark };
}

describe("an audit that goes on from a bookmark", () => {
  it("verifies what is new, and finds what the whole shows", async () => {
    const history = honestHistory();
    const { mark } = await marked(history);
    const session = history.openSession();
    history.signed(session);
    history.signed(session);
    const { findings, summary } = await marked(history, { bookmark: mark });
    expect(findings.map(({ code }) => code)).to.deep.equal(["AUDIT_SESSION_OPEN"]);
    // Two new ones, the key's test, and the explanation, which nothing closes.
    expect(summary).to.include({ signaturesValid: 4, verifiedBefore: 7, results: 6 });
    const [, forged] = history.streams.THSM_SHARE.slice(-2);
    if (forged === undefined) throw new RangeError("no share");
    forged.payload = Buffer.concat([forged.payload, Buffer.from(" ")]);
    expect((await marked(history, { bookmark: mark })).codes).to.include("AUDIT_BAD_SIGNATURE");
  });

  it("tells again what was wrong before", async () => {
    const history = honestHistory();
    const session = history.openSession();
    const asked = history.request(session);
    history.answer(1, asked, { shares: history.shares(2, asked.body) });
    for (const party of [2, 3]) history.answer(party, asked);
    history.result(asked, [2, 3]);
    const [first] = history.streams.THSM_AUDIT;
    if (first === undefined) throw new RangeError("empty");
    first.payload = Buffer.concat([first.payload, Buffer.from(" ")]);
    const before = await marked(history);
    expect(before.codes).to.include.members(["AUDIT_WRONG_SHARE", "AUDIT_BAD_SIGNATURE"]);
    const after = await marked(history, { bookmark: before.mark });
    expect(after.findings).to.deep.equal(before.findings);
    expect(after.summary.verifiedBefore).to.be.greaterThan(0);
    expect(after.mark.again).to.deep.equal(before.mark.again);
  });

  it("does not take an entry that was put back among those it verified for one of them", async () => {
    const history = honestHistory();
    const { mark } = await marked(history);
    const { THSM_AUDIT } = history.streams;
    const [first, second] = THSM_AUDIT;
    if (first === undefined || second === undefined) throw new RangeError("empty");
    const payload = Buffer.concat([first.payload, Buffer.from(" ")]);
    THSM_AUDIT.push({ ...first, payload, seq: second.seq });
    const { codes, findings } = await marked(history, { bookmark: mark });
    expect(codes).to.include("AUDIT_BAD_SIGNATURE");
    const [finding] = findings.filter(({ code }) => code === "AUDIT_ROLLED_BACK");
    expect(finding).to.include({ stream: "THSM_AUDIT" });
    expect(finding?.text).to.include("entry 2 is stored behind entry ");
  });

  it("recombines what an audit without recombination left out", async () => {
    const history = honestHistory();
    const { mark } = await marked(history, { recombine: false });
    const { summary } = await marked(history, { bookmark: mark });
    expect(summary).to.include({ verifiedBefore: 0, signaturesRecombined: 8 });
  });
});

describe("a bookmark's file", () => {
  const history = honestHistory();
  const owner = { cluster: history.cluster, auditor: "eva" };
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "thsm-bookmark-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it("comes back, and leaves nothing beside it", async () => {
    const path = join(dir, "one");
    expect(await readBookmark(path, owner)).to.equal(undefined);
    const { mark } = await marked(history);
    await writeBookmark(path, mark, owner, history.identity("eva"));
    expect(await readBookmark(path, owner)).to.deep.equal(mark);
    expect(await readdir(dir)).to.deep.equal(["one"]);
  });

  it("is refused when any byte of it changed, or another signed it", async () => {
    const path = join(dir, "two");
    const { mark } = await marked(history);
    await writeBookmark(path, mark, owner, history.identity("eva"));
    const bytes = await readFile(path);
    const refused = async (content: Uint8Array): Promise<void> => {
      await writeFile(path, content);
      const error: unknown = await readBookmark(path, owner).catch((cause: unknown) => cause);
      expect(error).to.be.instanceOf(HsmError);
      expect(error).to.include({ code: "ERR_UNTRUSTED_FILE" });
    };
    for (let at = 0; at < bytes.length - 1; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await refused(changed);
    }
    await refused(Buffer.alloc(0));
    await writeBookmark(path, mark, owner, history.identity("ada"));
    await refused(await readFile(path));
  });
});
