/** @module An operator let go of old entries: what an audit makes of it, with the export and without. */
import { expect } from "chai";
import { audited } from "./audited.js";
import { honestHistory, type HistoryBuilder } from "./history.js";

const manifest = "ab".repeat(32);

function rotated(history: HistoryBuilder, letGo: readonly string[], by = "oda"): void {
  const body = { version: 1, type: "rotated", operator: "oda", letGo, manifest };
  const subject = { kind: "operator-audit", operator: "oda" } as const;
  history.store(by, "THSM_AUDIT", subject, { ...body, time: history.time() });
}

function cut(history: HistoryBuilder, upTo: number): void {
  history.streams.THSM_REQ = history.streams.THSM_REQ.filter(({ seq }) => seq > upTo);
}

async function gapOf(history: HistoryBuilder): Promise<string> {
  const { findings } = await audited(history);
  const gaps = findings.filter(({ code }) => code === "AUDIT_SEQUENCE_GAP");
  expect(gaps).to.have.length(1);
  return gaps[0]?.text ?? "";
}

describe("entries that an operator let go of", () => {
  it("are a note while the export is there", async () => {
    const history = honestHistory();
    rotated(history, ["THSM_REQ 3 5"]);
    const { findings, codes } = await audited(history);
    expect(codes).to.deep.equal([]);
    const notes = findings.filter(({ code }) => code === "AUDIT_ROTATED");
    expect(notes.map(({ text }) => text).join())
      .to.contain("oda")
      .and.to.contain(manifest);
  });

  it("are missing without it, and the audit says which export to name", async () => {
    const history = honestHistory();
    // Somewhat more than was said, because requests came meanwhile; the export has them.
    cut(history, 4);
    rotated(history, ["THSM_SHARE 1 9", "THSM_REQ 3 5"]);
    expect(await gapOf(history)).to.match(
      /entries 1 to 4 are missing: operator oda let go of them/,
    );
    expect(await gapOf(history)).to.contain(manifest);
  });

  it("do not excuse what was not exported, nor another stream", async () => {
    const more = honestHistory();
    cut(more, 4);
    rotated(more, ["THSM_REQ 3 3"]);
    expect(await gapOf(more)).to.contain("exported no more than 3");
    const other = honestHistory();
    cut(other, 4);
    rotated(other, ["THSM_SHARE 9 9"]);
    expect(await gapOf(other)).to.contain("nothing can be deleted");
  });

  it("are nobody's but an operator's to let go of", async () => {
    const history = honestHistory();
    cut(history, 4);
    rotated(history, ["THSM_REQ 3 5"], "knot");
    const { codes } = await audited(history);
    expect(codes).to.include("AUDIT_UNKNOWN_SENDER");
    expect(await gapOf(history)).to.contain("nothing can be deleted");
  });
});
