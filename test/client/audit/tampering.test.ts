/** @module What whoever owns the store can do to it, and that it shows. */
import { expect } from "chai";
import * as fc from "fast-check";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import { parseJson } from "../../../src/validate.js";
import { audited, type Audited } from "./audited.js";
import { honestHistory, type Stored, type Streams } from "./history.js";

const numRuns = process.env["SLOW"] === undefined ? 40 : 1000;
const history = honestHistory();

function copy(): Streams {
  return structuredClone(history.streams);
}

/** As if nothing had ever been at the places that are empty now. */
function renumber(streams: Streams): Streams {
  for (const stream of keptStreams) {
    for (const [index, stored] of streams[stream].entries()) stored.seq = index + 1;
  }
  return streams;
}

async function audit(streams: Streams): Promise<Audited> {
  return await audited({ streams, cluster: history.cluster });
}

/** Codes of the history without the last four messages of a stream. */
async function cut(stream: KeptStream): Promise<readonly string[]> {
  const streams = copy();
  streams[stream].splice(-4);
  return (await audit(streams)).codes;
}

function fieldsOf(stored: Stored): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(parseJson(stored.payload) as object));
}

/** Every message except those that match. */
function without(matches: (stored: Stored) => boolean): Streams {
  const streams = copy();
  for (const stream of keptStreams) {
    streams[stream] = streams[stream].filter((stored) => !matches(stored));
  }
  return renumber(streams);
}

/**
 * What can go without leaving more than a note: whatever comes last in a chain has nobody behind it that
 * names it. Checkpoints are to cover it.
 */
function isUnprotected(stream: KeptStream, stored: Stored): boolean {
  if (stream === "THSM_AUDIT") return isType(stored, "session-closed");
  return stream === "THSM_SHARE" && fieldsOf(stored).get("kind") === "explanation";
}

function isType(stored: Stored, type: string): boolean {
  return fieldsOf(stored).get("type") === type;
}

describe("a tampered history", () => {
  it("shows any change of one byte, at its place", async () => {
    const places = keptStreams.flatMap((stream) =>
      history.streams[stream].map((_, index) => ({ stream, index })),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...places),
        fc.constantFrom("subject", "payload", "signature"),
        fc.nat(),
        fc.integer({ min: 1, max: 127 }),
        async ({ stream, index }, field, position, flip) => {
          const streams = copy();
          const stored = streams[stream][index];
          if (stored === undefined) throw new RangeError("no such message");
          const bytes = Buffer.from(stored[field]);
          const at = position % bytes.length;
          bytes[at] = (bytes[at] ?? 0) ^ flip;
          if (field === "payload") stored.payload = bytes;
          else stored[field] = bytes.toString("latin1");
          const { findings } = await audit(streams);
          const found = findings.find((one) => one.stream === stream && one.seq[0] === index + 1);
          expect(found?.code).to.be.oneOf([
            "AUDIT_BAD_SIGNATURE",
            "AUDIT_UNKNOWN_SENDER",
            "AUDIT_BAD_MESSAGE",
          ]);
        },
      ),
      { numRuns },
    );
  }).timeout(120_000);

  it("shows every message that is missing, by its number", async () => {
    for (const stream of keptStreams) {
      const streams = copy();
      streams[stream].splice(1, 1);
      const { findings } = await audit(streams);
      const gap = findings.find(({ code }) => code === "AUDIT_SEQUENCE_GAP");
      expect(gap).to.deep.include({ stream, seq: [2] });
    }
  });

  it("shows every message that is missing though all numbers were rewritten", async () => {
    for (const stream of keptStreams) {
      for (const [index, stored] of history.streams[stream].entries()) {
        const streams = copy();
        streams[stream].splice(index, 1);
        const { codes, findings } = await audit(renumber(streams));
        if (isUnprotected(stream, stored)) expect(codes).to.deep.equal([]);
        else expect(codes, `${stream} ${index + 1}`).not.to.deep.equal([]);
        const isSilent = stream === "THSM_SHARE" && isUnprotected(stream, stored);
        if (!isSilent) expect(findings).not.to.deep.equal([]);
      }
    }
  }).timeout(60_000);

  it("shows requests in another order", async () => {
    const streams = copy();
    const [first, second, ...others] = streams.THSM_REQ;
    if (first === undefined || second === undefined) throw new RangeError("no requests");
    streams.THSM_REQ = [second, first, ...others];
    const { codes } = await audit(renumber(streams));
    expect(codes).to.include("AUDIT_SHARE_WRONG_REQUEST_HASH");
  });

  it("shows key events in another order", async () => {
    const streams = copy();
    streams.THSM_KEY.reverse();
    expect((await audit(renumber(streams))).codes).to.include("AUDIT_KEY_EVENT_ILLEGAL");
  });

  it("notes events of a session in another order", async () => {
    const streams = copy();
    const places = streams.THSM_AUDIT.flatMap((stored, index) =>
      isType(stored, "result") ? [index] : [],
    );
    const [one = 0, other = 0] = places;
    const [first, second] = [streams.THSM_AUDIT[one], streams.THSM_AUDIT[other]];
    if (first === undefined || second === undefined) throw new RangeError("no results");
    streams.THSM_AUDIT.splice(one, 1, second);
    streams.THSM_AUDIT.splice(other, 1, first);
    const { codes, findings } = await audit(renumber(streams));
    expect(codes).to.deep.equal([]);
    const found = findings.find(({ code }) => code === "AUDIT_CHAIN_ORDER");
    expect(found).to.deep.include({ stream: "THSM_AUDIT", seq: [other + 1], client: "knot" });
  });

  it("shows an entry out of order", async () => {
    const streams = copy();
    streams.THSM_AUDIT.reverse();
    expect((await audit(streams)).codes).to.deep.equal(["AUDIT_SEQUENCE_GAP"]);
  });

  it("shows a request that is stored twice, and counts repeats of all else", async () => {
    for (const stream of keptStreams) {
      const streams = copy();
      streams[stream] = streams[stream].flatMap((stored) => [stored, { ...stored }]);
      const counts = streams[stream].length / 2;
      const { codes, summary } = await audit(renumber(streams));
      if (stream === "THSM_REQ") expect(codes).to.include("AUDIT_REQUEST_DUPLICATE");
      else
        expect({ codes, repeats: summary.repeats }).to.deep.equal({ codes: [], repeats: counts });
    }
  });

  it("shows that a node's messages are gone", async () => {
    const { identity } = history.cluster.find("node", "cyd") ?? {};
    const { codes } = await audit(
      without(({ signature }) => signature.includes(identity?.keyId ?? "")),
    );
    expect(codes).to.include.members(["AUDIT_RESULT_WITHOUT_QUORUM", "AUDIT_KEY_EVENT_ILLEGAL"]);
  });

  it("shows that a session is gone, shares and results included", async () => {
    const other = honestHistory();
    const session = other.openSession();
    other.signed(session);
    other.closeSession(session);
    other.signed(other.openSession());
    const streams = structuredClone(other.streams);
    for (const stream of keptStreams) {
      streams[stream] = streams[stream].filter(({ subject }) => !subject.includes(session.id));
    }
    expect((await audit(renumber(streams))).codes).to.include("AUDIT_CHAIN_GAP");
  });

  it("shows a message that was moved to another stream or subject", async () => {
    const streams = copy();
    const [moved] = streams.THSM_KEY;
    if (moved === undefined) throw new RangeError("no key event");
    streams.THSM_AUDIT.push({ ...moved, subject: "thsm.v1.audit.node.ada" });
    expect((await audit(renumber(streams))).codes).to.include("AUDIT_BAD_SIGNATURE");
  });

  it("shows the cut end of one stream", async () => {
    expect(await cut("THSM_KEY")).to.include("AUDIT_SIGNED_WITH_INACTIVE_KEY");
    expect(await cut("THSM_REQ")).to.include("AUDIT_SHARE_WITHOUT_REQUEST");
    // The refusals and explanations at the end are named by nobody: see below.
    expect(await cut("THSM_SHARE")).to.deep.equal([]);
    // Neither is a session without its last events: it might still be open.
    expect(await cut("THSM_AUDIT")).to.deep.equal([]);
  });

  it("cannot show a cut of all streams at one moment: that takes checkpoints kept elsewhere", async () => {
    const moment = history.streams.THSM_REQ.at(4)?.time ?? "";
    const { codes } = await audit(without(({ time }) => time >= moment));
    expect(codes).to.deep.equal([]);
  });
});
