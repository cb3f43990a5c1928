import { expect } from "chai";
import { explainSignings, type Explanation } from "../../../src/client/audit/explain.js";
import type { Question } from "../../../src/client/audit/question.js";
import { formatStory } from "../../../src/client/audit/story-text.js";
import { memoryHistory } from "./audited.js";
import { HistoryBuilder, honestHistory, type Asked } from "./history.js";

async function explained(history: HistoryBuilder, ...questions: Question[]): Promise<Explanation> {
  return await explainSignings(memoryHistory(history.streams), history.cluster, questions);
}

/** One request whose second node is silent, the third asked in its place. */
function escalated(): { history: HistoryBuilder; slow: Asked; again: Asked } {
  const history = new HistoryBuilder();
  for (const node of history.nodes) history.nodeStarted(node);
  const session = history.openSession();
  history.makeKey(session);
  history.signed(session);
  const slow = history.request(session);
  history.answer(1, slow);
  const { rid, inputs } = slow.body;
  const again = history.request(session, { attempt: 2, of: rid, parties: [3], inputs });
  history.answer(3, again);
  history.result(slow, [1, 3]);
  history.signed(session);
  history.closeSession(session);
  return { history, slow, again };
}

describe("the story of a signing", () => {
  it("tells who asked, who answered, who was silent, and who made the signature", async () => {
    const { history, slow } = escalated();
    const { stories, otherFindings } = await explained(history, { rid: slow.body.rid });
    expect(otherFindings).to.deep.equal([]);
    expect(stories).to.have.length(1);
    const [story] = stories;
    expect(story).to.deep.include({
      client: "knot",
      application: "knotd 4711",
      token: "zones",
      label: "example.org ZSK",
      outcome: "signed",
      quorum: ["ada", "cyd"],
      recombined: 1,
      findings: [],
      culprits: [],
    });
    expect(story?.nodes).to.deep.equal([
      {
        node: "ada",
        asked: [{ attempt: 1, answeredAfterMs: 10 }],
        did: "shares",
        isInQuorum: true,
      },
      { node: "bob", asked: [{ attempt: 1 }], did: "silence", isInQuorum: false },
      {
        node: "cyd",
        asked: [{ attempt: 2, answeredAfterMs: 10 }],
        did: "shares",
        isInQuorum: true,
      },
    ]);
    expect(story?.signatures.map(({ isValid }) => isValid)).to.deep.equal([true]);
    expect(story?.steps.map(({ stream, seq }) => `${stream} ${seq}`)).to.deep.equal([
      "THSM_REQ 3",
      "THSM_SHARE 5",
      "THSM_REQ 4",
      "THSM_SHARE 6",
      "THSM_AUDIT 6",
    ]);
    const text = story === undefined ? "" : formatStory(story);
    expect(text)
      .to.match(/knotd 4711/)
      .and.match(/bob +was asked, and is silent/);
    expect(text)
      .to.match(/attempt 2: asked cyd as well/)
      .and.match(/verifies under the public key/);
  });

  it("is the same by the signature, the first request and the escalation", async () => {
    const { history, slow, again } = escalated();
    const signature = history.signatures(slow.body, [1, 3])[0] ?? "";
    const byRid = await explained(history, { rid: slow.body.rid });
    expect(await explained(history, { signature })).to.deep.equal(byRid);
    expect(await explained(history, { rid: again.body.rid })).to.deep.equal(byRid);
    const twice = await explained(history, { signature }, { rid: again.body.rid });
    expect(twice).to.deep.equal(byRid);
  });

  it("has both signings when the same was signed twice", async () => {
    const { history, slow } = escalated();
    const session = history.openSession();
    const other = history.signed(session, { inputs: slow.body.inputs });
    const signature = history.signatures(slow.body, [1, 3])[0] ?? "";
    const { stories } = await explained(history, { signature });
    expect(stories.map(({ rid }) => rid)).to.have.members([slow.body.rid, other.body.rid]);
  });

  it("names a liar", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    const asked = history.request(session, { parties: [1, 2, 3] });
    history.answer(1, asked, { shares: history.shares(2, asked.body) });
    for (const party of [2, 3]) history.answer(party, asked);
    history.result(asked, [2, 3]);
    const { stories } = await explained(history, { rid: asked.body.rid });
    const [story] = stories;
    expect(story?.culprits).to.deep.equal(["ada"]);
    expect(story?.findings.map(({ code }) => code)).to.deep.equal(["AUDIT_WRONG_SHARE"]);
    expect(story === undefined ? "" : formatStory(story)).to.match(/its share is WRONG/);
  });

  it("knows a failure, and a request without an end", async () => {
    const history = honestHistory();
    const refused = history.streams.THSM_REQ.map(
      ({ payload }) =>
        JSON.parse(Buffer.from(payload).toString("utf8")) as { hash: string; rid: string },
    ).find(({ hash }) => hash === "sha1");
    const failed = await explained(history, { rid: refused?.rid ?? "" });
    expect(failed.stories[0]).to.deep.include({ outcome: "failed", code: "ERR_REFUSED_BY_POLICY" });
    expect(failed.stories[0]?.nodes[0]).to.deep.include({
      node: "ada",
      did: "refusal",
      reason: "hash sha1 is not allowed",
    });
    const open = history.request(history.openSession());
    const { stories } = await explained(history, { rid: open.body.rid });
    expect(stories[0]).to.deep.include({ outcome: "open", signatures: [] });
    expect(stories[0]?.findings.map(({ code }) => code)).to.deep.equal([
      "AUDIT_REQUEST_WITHOUT_RESULT",
    ]);
  });

  it("does not exist for a signature that nobody asked for", async () => {
    const { history } = escalated();
    const signature = Buffer.alloc(128, 7).toString("base64url");
    expect((await explained(history, { signature })).stories).to.deep.equal([]);
  });

  it("is not told from messages that were altered, and says that the history is not whole", async () => {
    const { history, slow } = escalated();
    const result = history.streams.THSM_AUDIT[5];
    if (result === undefined) throw new RangeError("no result");
    const text = Buffer.from(result.payload).toString("utf8");
    result.payload = Buffer.from(text.replace('"elapsedMs":12', '"elapsedMs":99'));
    const { stories, otherFindings } = await explained(history, { rid: slow.body.rid });
    expect(stories[0]?.outcome).to.equal("open");
    expect(otherFindings.map(({ code }) => code)).to.include("AUDIT_BAD_SIGNATURE");
  });
});
