import { expect } from "chai";
import * as fc from "fast-check";
import type { Finding } from "../../../src/client/audit/findings.js";
import {
  auditExitCode,
  auditReport,
  formatFinding,
  formatSummary,
} from "../../../src/client/audit/report.js";
import { keptStreams, type HistorySource } from "../../../src/client/audit/sources.js";
import { HsmError } from "../../../src/errors.js";
import { SignRequest } from "../../../src/streams/requests.js";
import { audited, auditedSource, memoryHistory } from "./audited.js";
import { HistoryBuilder, honestHistory } from "./history.js";

/** All messages of the streams, of which all but the last request and its share came to rest. */
function running(settledShares: number): { source: HistorySource; history: HistoryBuilder } {
  const history = new HistoryBuilder();
  const session = history.openSession();
  history.makeKey(session);
  const asked = history.request(session);
  history.answer(1, asked);
  history.streams.THSM_REQ.pop();
  const source = memoryHistory(history.streams);
  const bounds = async (): ReturnType<HistorySource["bounds"]> => {
    const found = await source.bounds();
    return { ...found, THSM_SHARE: { ...found.THSM_SHARE, settled: settledShares } };
  };
  return { source: { ...source, bounds }, history };
}

describe("an audit of an honest history", () => {
  const history = honestHistory();

  it("finds nothing, and says what it looked at", async () => {
    const { findings, summary } = await audited(history);
    expect(findings).to.deep.equal([]);
    expect(summary).to.deep.include({ keys: 1, sessions: 1, requests: 8, results: 4, repeats: 0 });
    expect(summary).to.include({ signaturesValid: 8, signaturesRecombined: 8, inFlight: 0 });
    expect(summary.chainHeads.map(({ node }) => node)).to.deep.equal(["ada", "bob", "cyd"]);
    expect(summary.chainHeads[0]?.n).to.equal(9);
    expect(summary.streams.THSM_REQ).to.deep.equal({ messages: 8, first: 1, last: 8 });
  });

  it("finds nothing with larger quorums", async () => {
    const larger = new HistoryBuilder({ parties: 5, threshold: 3 });
    const session = larger.openSession();
    larger.makeKey(session);
    larger.signed(session, { parties: [5, 2, 4] });
    larger.closeSession(session);
    expect((await audited(larger)).findings).to.deep.equal([]);
  });

  it("does not depend on the server's time stamps", async () => {
    const stamps = fc.array(fc.integer({ min: 0, max: 4e12 }), { minLength: 60, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(stamps, async (times) => {
        const streams = structuredClone(history.streams);
        const all = keptStreams.flatMap((stream) => streams[stream]);
        for (const [index, stored] of all.entries()) {
          stored.time = new Date(times[index % times.length] ?? 0).toISOString();
        }
        const { findings, summary } = await audited({ streams, cluster: history.cluster });
        expect(findings).to.deep.equal([]);
        expect(summary.signaturesRecombined).to.equal(8);
      }),
      { numRuns: 20 },
    );
  }).timeout(30_000);

  it("can leave out the recombination, except for the tests of keys", async () => {
    const { findings, summary } = await audited(history, { recombine: false });
    expect(findings).to.deep.equal([]);
    expect(summary).to.include({ signaturesValid: 7, signaturesRecombined: 1 });
  });

  it("tells how far it is, and can be stopped", async () => {
    const seen: number[] = [];
    await audited(history, { onProgress: ({ done, total }) => seen.push(done / total) });
    expect(seen.at(-1)).to.equal(1);

    const options = { signal: AbortSignal.abort() };
    const error: unknown = await audited(history, options).catch((cause: unknown) => cause);
    expect(error).to.be.instanceOf(HsmError);
    expect(error).to.include({ code: "ERR_ABORTED" });
  });
});

describe("an audit that has let go of a signing", () => {
  it("knows its repeats, and finds what comes too late to be honest", async () => {
    const history = honestHistory();
    const session = history.openSession();
    const asked = history.signed(session);
    const result = history.streams.THSM_AUDIT.at(-1);
    if (result === undefined) throw new RangeError("no result");
    history.put("THSM_AUDIT", { ...result, stream: "THSM_AUDIT", hash: "" });
    const before = await audited(history, { heldInputs: 0 });
    expect(before.codes).to.deep.equal([]);
    expect(before.summary).to.include({ repeats: 1, signaturesRecombined: 9 });

    const { rid, inputs } = asked.body;
    history.answer(3, asked);
    history.result(asked, [1, 2], { elapsedMs: 13 });
    history.request(session, { attempt: 2, of: rid, parties: [3], inputs });
    session.requests--;
    history.request(session, { rid });
    const { codes } = await audited(history, { heldInputs: 0 });
    expect(codes).to.deep.equal([
      "AUDIT_REQUEST_DUPLICATE",
      "AUDIT_REQUEST_WRONG_ATTEMPT",
      "AUDIT_RESULT_DUPLICATE",
      "AUDIT_SESSION_GAP",
      "AUDIT_SHARE_NOT_ASKED",
    ]);
  });
});

describe("an audit that cannot hold all that is open", () => {
  it("judges the oldest by what there is, and notes who came too late to be judged", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    const slow = history.request(session, { parties: [1, 2, 3] });
    history.answer(1, slow);
    history.answer(2, slow);
    history.result(slow, [1, 2]);
    const open = history.request(session);
    for (const party of open.body.parties) history.answer(party, open);
    for (let more = 0; more < 4; more++) history.signed(session);
    expect(
      (await audited(history, { openInputs: 2 })).findings.map(({ code }) => code),
    ).to.deep.equal(["AUDIT_REQUEST_WITHOUT_RESULT", "AUDIT_SESSION_OPEN"]);
    history.answer(3, slow);
    history.answer(3, slow, { reqSeq: 99 });
    history.result(open, [1, 2]);
    const { findings, summary } = await audited(history, { openInputs: 2 });
    expect(findings.map(({ code }) => code).toSorted()).to.deep.equal([
      "AUDIT_REQUEST_WITHOUT_RESULT",
      "AUDIT_RESULT_NOT_JUDGED",
      "AUDIT_SESSION_OPEN",
      "AUDIT_SHARE_NOT_ASKED",
      "AUDIT_SHARE_NOT_JUDGED",
    ]);
    expect(summary).to.include({ findings: 2, notes: 3, signaturesRecombined: 7 });
  });

  it("gives up what answers no request, the oldest first, and tells of all of it", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    const asked = history.signed(session);
    const unasked = Array.from({ length: 5 }, () => history.id());
    const { body } = asked;
    for (const rid of unasked) {
      history.answer(1, { ...asked, body: Object.assign(new SignRequest(), body, { rid }) });
    }
    history.request(session, { attempt: 2, of: history.id(), parties: [3], inputs: body.inputs });
    session.requests--;
    const all = await audited(history);
    const bounded = await audited(history, { openInputs: 2 });
    const shown = ({ findings }: typeof all): string[] =>
      findings.map(({ code, seq }) => `${code} ${seq.join()}`).toSorted();
    expect(shown(bounded)).to.deep.equal(shown(all));
    const codes = ["AUDIT_REQUEST_WRONG_ATTEMPT", "AUDIT_SHARE_WITHOUT_REQUEST"];
    expect(all.codes).to.deep.equal(codes);
    const lost = bounded.findings.filter(({ code }) => code === "AUDIT_SHARE_WITHOUT_REQUEST");
    // Two may wait until the end.
    expect(lost.filter(({ text }) => text.includes("or more than 2 inputs"))).to.have.length(4);
  });
});

describe("an audit of a system that is running", () => {
  it("leaves what may have been stored meanwhile to the next audit, and nothing else", async () => {
    const early = running(2);
    const { codes, summary } = await auditedSource(early.source, early.history.cluster);
    expect({ codes, inFlight: summary.inFlight }).to.deep.equal({ codes: [], inFlight: 1 });

    const late = running(3);
    expect((await auditedSource(late.source, late.history.cluster)).codes).to.deep.equal([
      "AUDIT_SHARE_WITHOUT_REQUEST",
    ]);
  });
});

describe("what is told of an audit", () => {
  it("is a text, an object and an exit code", async () => {
    const history = honestHistory();
    const clean = await audited(history);
    expect(auditExitCode(clean.summary)).to.equal(0);
    expect(formatSummary(clean.summary)).to.include("8 signatures are valid, 8 were made again");
    expect(auditReport(clean.summary, clean.findings)).to.deep.include({ version: 1, clean: true });

    history.streams.THSM_SHARE.splice(3, 1);
    const { findings, summary } = await audited(history);
    const [first] = findings as [Finding];
    expect(auditExitCode(summary)).to.equal(3);
    expect(auditReport(summary, findings).clean).to.equal(false);
    expect(formatFinding(first)).to.equal(
      "FINDING AUDIT_SEQUENCE_GAP THSM_SHARE 4: THSM_SHARE: entry 4 is missing, though nothing can be deleted there by the rules",
    );
    expect(formatSummary(summary)).to.include("AUDIT_CHAIN_GAP: 1");
  });
});
