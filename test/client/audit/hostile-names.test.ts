/** @module Whatever a member writes into its messages, a terminal shows it as text on one line. */
import { expect } from "chai";
import { explainSignings } from "../../../src/client/audit/explain.js";
import { formatSigningLine, listSignings } from "../../../src/client/audit/list.js";
import { formatFinding } from "../../../src/client/audit/report.js";
import { formatStory } from "../../../src/client/audit/story-text.js";
import { verifyHistory } from "../../../src/client/audit/verify.js";
import { memoryHistory } from "./audited.js";
import { HistoryBuilder } from "./history.js";

const hostile = "knotd\u001B[2J\n2026 clean \u202Eexe.\u0085\u2028\u200B";
const shown = "knotd\\u{1b}[2J\\u{a}2026 clean \\u{202e}exe.\\u{85}\\u{2028}\\u{200b}";

describe("names and reasons that control terminals", () => {
  const history = new HistoryBuilder();
  const session = history.openSession("knot", "zones", hostile);
  history.makeKey(session, { label: hostile });
  const signed = history.signed(session);
  const asked = history.request(session);
  history.answer(1, asked, { kind: "refusal", code: "ERR_REFUSED_BY_POLICY", reason: hostile });
  history.clientAudit(session, "failure", {
    rid: asked.body.rid,
    key: history.key,
    code: "ERR_QUORUM_NOT_REACHED",
    reason: hostile,
  });
  history.clientAudit(session, "failure", {
    rid: signed.body.rid,
    key: history.key,
    code: "ERR_ABORTED",
    reason: hostile,
  });
  const source = memoryHistory(history.streams);

  function isPlain(line: string): void {
    expect(line).to.not.match(/[\p{C}\u2028]/u);
  }

  it("are shown by number in the list", async () => {
    const lines: string[] = [];
    for await (const item of listSignings(source, history.cluster)) {
      if (item.type === "signing") lines.push(formatSigningLine(item.line));
    }
    expect(lines).to.have.length(3);
    for (const line of lines) {
      isPlain(line);
      expect(line).to.contain(`knot (${shown})`);
    }
  });

  it("are shown by number in a story, whose lines stay its own", async () => {
    for (const { rid } of [signed.body, asked.body]) {
      const { stories } = await explainSignings(source, history.cluster, [{ rid }]);
      const [story] = stories;
      if (story === undefined) throw new RangeError("no story");
      const lines = formatStory(story).split("\n");
      for (const line of lines) isPlain(line);
      expect(lines.filter((line) => line.includes(shown)).length).to.be.greaterThan(1);
      expect(lines.some((line) => line.startsWith("2026 clean"))).to.equal(false);
    }
  });

  it("are shown by number in findings", async () => {
    const spoilt = new HistoryBuilder();
    const other = spoilt.openSession();
    spoilt.makeKey(other);
    spoilt.store(
      "knot",
      "THSM_AUDIT",
      { kind: "blame", client: "knot", node: "bob" },
      {
        version: 1,
        type: "misbehaviour",
        client: "knot",
        node: "bob",
        verdict: "suspect",
        code: "slow",
        text: hostile,
        time: spoilt.time(),
      },
    );
    const lines: string[] = [];
    for await (const finding of verifyHistory(memoryHistory(spoilt.streams), spoilt.cluster)) {
      lines.push(formatFinding(finding));
    }
    for (const line of lines) isPlain(line);
    expect(lines.join("\n")).to.contain(shown);
  });
});
