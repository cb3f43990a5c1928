/** @module The ways through an audit that must not change what it tells: threads, scopes, items. */
import { expect } from "chai";
import { replayHistory } from "../../../src/client/audit/verify.js";
import type { AuditItem } from "../../../src/client/audit/audit-items.js";
import { keptStreams } from "../../../src/client/audit/sources.js";
import { audited, memoryHistory } from "./audited.js";
import { honestHistory, type HistoryBuilder } from "./history.js";

/** A history with something of everything wrong in it. */
function spoilt(): HistoryBuilder {
  const history = honestHistory();
  const session = history.openSession();
  history.signed(session);
  const asked = history.request(session, {
    inputs: ["a", "b"].map((text) => history.digest(text)),
  });
  const wrong = history.shares(1, asked.body).toReversed();
  history.answer(1, asked, { shares: wrong });
  history.answer(2, asked);
  history.answer(3, asked);
  history.result(asked, [2, 3]);
  const [, second] = history.streams.THSM_REQ;
  const last = history.streams.THSM_SHARE.at(-4);
  if (second === undefined || last === undefined) throw new RangeError("short history");
  second.signature = second.signature.replace(/.$/, (letter) => (letter === "A" ? "Q" : "A"));
  last.payload = Buffer.from(last.payload).fill(0x7b, 0, 1);
  last.payload[5] = 0;
  return history;
}

describe("an audit by several threads", () => {
  it("tells the same as by one, in the same order", async () => {
    for (const history of [honestHistory(), spoilt()]) {
      const one = await audited(history);
      const three = await audited(history, { threads: 3 });
      expect(three.findings).to.deep.equal(one.findings);
      expect({ ...three.summary, durationMs: 0 }).to.deep.equal({ ...one.summary, durationMs: 0 });
    }
  }).timeout(60_000);
});

describe("an audit with a scope", () => {
  const history = spoilt();

  it("tells of one key, session or time, and counts what it leaves out", async () => {
    const whole = await audited(history);
    const ids = history.streams.THSM_REQ.map(({ subject }) => subject.split(".")[4] ?? "");
    for (const scope of [
      { key: "00".repeat(16) },
      { session: "none" },
      { session: ids.at(0) ?? "" },
      { session: ids.at(-1) ?? "" },
      { sinceMs: Date.parse("2027-01-01") },
      { untilMs: Date.parse("2025-01-01") },
    ]) {
      const { findings, summary } = await audited(history, { scope });
      // Nothing that is not found in the whole.
      expect(whole.findings).to.deep.include.members(findings);
      const told = findings.length + summary.outOfScope;
      expect(told).to.be.at.most(whole.findings.length);
      expect(summary.notVerified).to.be.greaterThan(0);
      expect(summary.streams).to.deep.equal(whole.summary.streams);
      expect(summary.chainHeads).to.deep.equal(whole.summary.chainHeads);
      const codes = findings.map(({ code }) => code);
      expect(codes).to.include("AUDIT_BAD_SIGNATURE");
    }
  }).timeout(60_000);

  it("verifies what it is asked about", async () => {
    const session = history.streams.THSM_REQ.at(-1)?.subject.split(".")[4] ?? "";
    const { codes, summary } = await audited(history, { scope: { session } });
    expect(codes).to.include("AUDIT_WRONG_SHARE");
    // The test of the key is always verified.
    expect(summary.signaturesValid).to.equal(4);
    const clean = honestHistory();
    const none = await audited(clean, { scope: { session: "none" } });
    expect(none.findings).to.deep.equal([]);
    expect(none.summary).to.include({ signaturesValid: 1, notVerified: 8, outOfScope: 0 });
  });
});

describe("a replay", () => {
  it("gives every message in order, every signing with its verdict, and the findings", async () => {
    const history = spoilt();
    const items: AuditItem[] = [];
    const run = replayHistory(memoryHistory(history.streams), history.cluster, {
      events: true,
      signings: true,
    });
    for await (const item of run) items.push(item);
    const events = items.flatMap((item) => (item.type === "event" ? [item.event] : []));
    for (const stream of keptStreams) {
      const seqs = events.filter((one) => one.stream === stream).map(({ message }) => message.seq);
      expect(seqs).to.deep.equal(seqs.toSorted((one, other) => one - other));
    }
    const all = keptStreams.reduce((sum, stream) => sum + history.streams[stream].length, 0);
    expect(events).to.have.length(all - 2);
    const signings = items.flatMap((item) => (item.type === "signing" ? [item] : []));
    const last = signings.at(-1);
    expect(last?.signing.closing?.body).to.include({ type: "result" });
    expect(last?.verdict).to.deep.include({ valid: 2, culprits: [1] });
    const findings = items.flatMap((item) => (item.type === "finding" ? [item.finding] : []));
    expect(findings).to.deep.equal((await audited(history)).findings);
  });
});
