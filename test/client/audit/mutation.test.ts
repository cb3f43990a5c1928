/**
 * @module Everything that whoever owns the store can do to a recorded history, and by what it shows. What takes
 * away the end of everything leaves a shorter history that is right in itself: that shows to whoever
 * remembers more, an auditor by its bookmark. (Checkpoints of the nodes are another such memory.)
 */
import { expect } from "chai";
import type { FindingCode } from "../../../src/client/audit/findings.js";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import type { Stored, Streams } from "./history.js";
import { at, copy, history, moved, other, outcome, renumbered, twoSessions } from "./mutated.js";

function without(matches: (stored: Stored, stream: KeptStream) => boolean): Streams {
  const streams = copy();
  for (const stream of keptStreams) {
    streams[stream] = streams[stream].filter((stored) => !matches(stored, stream));
  }
  return renumbered(streams);
}

function changed(change: (streams: Streams) => void): Streams {
  const streams = copy();
  change(streams);
  return streams;
}

function isOf(name: string): (stored: Stored) => boolean {
  const { keyId } = history.identity(name).publicKey;
  return ({ signature }) => signature.includes(keyId);
}

function edited(stored: Stored, from: string, to: string): void {
  const text = Buffer.from(stored.payload).toString("utf8");
  expect(text).to.include(from);
  stored.payload = Buffer.from(text.replace(from, to));
}

const sessions = history.streams.THSM_AUDIT.map(({ subject }) => subject.split(".")[5] ?? "");
const second = [...new Set(sessions)].filter((id) => id !== "").at(1) ?? "";

/** Mutation → codes that must be found. */
const table: (readonly [what: string, streams: () => Streams, codes: readonly FindingCode[]])[] = [
  ...keptStreams.map(
    (stream) =>
      [
        `drop an entry of ${stream}`,
        () => changed((streams) => streams[stream].splice(2, 1)),
        ["AUDIT_SEQUENCE_GAP"],
      ] as const,
  ),
  ["drop a request and renumber", () => dropped("THSM_REQ", 3), ["AUDIT_SHARE_WITHOUT_REQUEST"]],
  ["drop a share and renumber", () => dropped("THSM_SHARE", 3), ["AUDIT_CHAIN_GAP"]],
  ["drop a result and renumber", () => dropped("THSM_AUDIT", 5), ["AUDIT_CHAIN_GAP"]],
  ["drop a key event and renumber", () => dropped("THSM_KEY", 2), ["AUDIT_CHAIN_GAP"]],
  ["drop a proposal and renumber", () => dropped("THSM_KEY", 0), ["AUDIT_KEY_EVENT_ILLEGAL"]],
  [
    "reorder entries",
    () => changed(({ THSM_REQ }) => moved(THSM_REQ, 4, 1)),
    ["AUDIT_SEQUENCE_GAP"],
  ],
  [
    "reorder requests and renumber",
    () => renumbered(changed(({ THSM_REQ }) => moved(THSM_REQ, 4, 1))),
    ["AUDIT_SHARE_WRONG_REQUEST_HASH"],
  ],
  [
    "reorder key events and renumber",
    () => renumbered(changed(({ THSM_KEY }) => moved(THSM_KEY, 7, 1))),
    ["AUDIT_KEY_EVENT_ILLEGAL"],
  ],
  [
    "duplicate an entry",
    () => changed(({ THSM_SHARE }) => THSM_SHARE.splice(3, 0, { ...at(copy(), "THSM_SHARE", 3) })),
    ["AUDIT_SEQUENCE_GAP"],
  ],
  [
    "duplicate a request and renumber",
    () => renumbered(changed((all) => all.THSM_REQ.push({ ...at(all, "THSM_REQ", 3) }))),
    ["AUDIT_REQUEST_DUPLICATE", "AUDIT_SESSION_GAP"],
  ],
  ...keptStreams.flatMap((stream) =>
    (
      [
        ["edit a payload", "payload"],
        ["edit a header", "signature"],
        ["change a subject", "subject"],
      ] as const
    ).map(
      ([what, field]) =>
        [`${what} in ${stream}`, () => bent(stream, field), ["AUDIT_BAD_SIGNATURE"]] as const,
    ),
  ),
  [
    "edit a header into another member's key",
    () =>
      changed((all) => {
        const stored = at(all, "THSM_SHARE", 2);
        const { keyId } = history.identity("knot").publicKey;
        stored.signature = stored.signature.replace(/ [0-9a-f]{16} /, ` ${keyId} `);
      }),
    ["AUDIT_BAD_SIGNATURE"],
  ],
  [
    "edit a header into nobody's key",
    () =>
      changed((all) => {
        const stored = at(all, "THSM_SHARE", 2);
        stored.signature = stored.signature.replace(/ [0-9a-f]{16} /, " 0123456789abcdef ");
      }),
    ["AUDIT_UNKNOWN_SENDER"],
  ],
  [
    "edit a header away",
    () => changed((all) => (at(all, "THSM_REQ", 2).signature = "")),
    ["AUDIT_BAD_SIGNATURE"],
  ],
  [
    "change a subject to another session",
    () =>
      changed((all) => {
        const stored = at(all, "THSM_AUDIT", -1);
        stored.subject = stored.subject.replace(/[^.]+$/, second);
      }),
    ["AUDIT_BAD_SIGNATURE"],
  ],
  [
    "change a subject to what is none",
    () => changed((all) => (at(all, "THSM_KEY", 3).subject = "thsm.v1.keys.x")),
    ["AUDIT_BAD_MESSAGE"],
  ],
  [
    "move a message to another stream",
    () => renumbered(changed((all) => all.THSM_AUDIT.push(at(all, "THSM_KEY", 3)))),
    ["AUDIT_BAD_SIGNATURE"],
  ],
  [
    "truncate the requests",
    () => changed(({ THSM_REQ }) => THSM_REQ.splice(-2)),
    ["AUDIT_SHARE_WITHOUT_REQUEST", "AUDIT_RESULT_WITHOUT_REQUEST"],
  ],
  [
    "truncate the shares",
    () => changed(({ THSM_SHARE }) => THSM_SHARE.splice(-4)),
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
  ],
  [
    "truncate the key events",
    () => changed(({ THSM_KEY }) => THSM_KEY.splice(-4)),
    ["AUDIT_SIGNED_WITH_INACTIVE_KEY"],
  ],
  [
    "replace the requests by an older backup",
    () => changed(({ THSM_REQ }) => THSM_REQ.splice(4)),
    ["AUDIT_SHARE_WITHOUT_REQUEST"],
  ],
  [
    "renumber",
    () => changed(({ THSM_SHARE }) => THSM_SHARE.forEach((stored) => (stored.seq += 3))),
    ["AUDIT_SEQUENCE_GAP"],
  ],
  [
    "renumber the requests, and leave no gap",
    () =>
      renumbered(
        changed(({ THSM_REQ }) => THSM_REQ.unshift({ ...at(other.streams, "THSM_REQ", 0) })),
      ),
    ["AUDIT_SHARE_WRONG_REQUEST_HASH"],
  ],
  [
    "splice two histories",
    () => renumbered(changed((all) => spliced(all, 6))),
    ["AUDIT_CHAIN_BROKEN", "AUDIT_CHAIN_GAP"],
  ],
  [
    "splice the shares of two histories",
    () =>
      renumbered(
        changed((all) => all.THSM_SHARE.splice(10, 99, ...copy(other).THSM_SHARE.slice(10))),
      ),
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
  ],
  [
    "forge a result, unsigned",
    () => changed((all) => edited(at(all, "THSM_AUDIT", -1), '"quorum":[1,2]', '"quorum":[1,3]')),
    ["AUDIT_BAD_SIGNATURE"],
  ],
  [
    "forge a result, signed by a node",
    () => {
      const forger = twoSessions();
      const { THSM_AUDIT } = forger.streams;
      const { subject, payload } = at(forger.streams, "THSM_AUDIT", -1);
      const body = JSON.parse(Buffer.from(payload).toString("utf8")) as object;
      const [, , , , client = "", session = ""] = subject.split(".");
      forger.store("ada", "THSM_AUDIT", { kind: "client-audit", client, session }, body);
      THSM_AUDIT.splice(-2, 1);
      return renumbered(forger.streams);
    },
    ["AUDIT_UNKNOWN_SENDER"],
  ],
  [
    "forge a result, with a stolen client key, of a request that nobody answered",
    () => {
      const forger = twoSessions();
      const asked = forger.request(forger.openSession());
      forger.result(asked, [1, 2]);
      return forger.streams;
    },
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
  ],
  [
    "forge a result, with a stolen client key, of no request",
    () => {
      const forger = twoSessions();
      forger.result(forger.request(forger.openSession()), [1, 2]);
      forger.streams.THSM_REQ.pop();
      return forger.streams;
    },
    ["AUDIT_RESULT_WITHOUT_REQUEST"],
  ],
  [
    "delete a node's messages",
    () => without(isOf("cyd")),
    ["AUDIT_KEY_EVENT_ILLEGAL", "AUDIT_RESULT_WITHOUT_QUORUM"],
  ],
  [
    "delete a node's shares",
    () => without((stored, stream) => stream === "THSM_SHARE" && isOf("cyd")(stored)),
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
  ],
  ["delete a client's messages", () => without(isOf("knot")), ["AUDIT_SHARE_WITHOUT_REQUEST"]],
  [
    "delete a whole session",
    () => without(({ subject }) => subject.includes(second)),
    ["AUDIT_CHAIN_GAP"],
  ],
  [
    "delete a session's requests and end",
    () => without(({ subject }, stream) => stream !== "THSM_SHARE" && subject.includes(second)),
    ["AUDIT_SHARE_WITHOUT_REQUEST"],
  ],
];

function dropped(stream: KeptStream, index: number): Streams {
  return renumbered(changed((streams) => streams[stream].splice(index, 1)));
}

/** Changed so that what is read is still of the right shape. */
function bent(stream: KeptStream, field: "payload" | "signature" | "subject"): Streams {
  return changed((streams) => {
    const stored = at(streams, stream, 3);
    if (field === "payload") stored.payload = Buffer.concat([stored.payload, Buffer.from(" ")]);
    else if (field === "signature") {
      stored.signature = stored.signature.replace(/.{20}$/, (end) =>
        end.startsWith("A") ? `B${end.slice(1)}` : `A${end.slice(1)}`,
      );
    } else stored.subject = stored.subject.replace(/\.[^.]+$/, ".f123456789abcdef0123456789abcdef");
  });
}

/** The beginning of one history and the end of another. */
function spliced(streams: Streams, from: number): void {
  for (const stream of keptStreams) {
    if (stream === "THSM_KEY") continue;
    streams[stream].splice(from, 99, ...copy(other)[stream].slice(from));
  }
}

describe("a mutation of a recorded history", () => {
  for (const [what, streams, codes] of table) {
    it(`is found: ${what}`, async () => {
      expect((await outcome(streams())).codes).to.include.members([...codes]);
    });
  }

  it("is found by the bookmark: cut or replace everything at one moment", async () => {
    const { mark, codes: before } = await outcome(copy());
    expect(before).to.deep.equal([]);
    if (mark === undefined) throw new TypeError("no mark");
    const times = keptStreams.flatMap((stream) => history.streams[stream].map(({ time }) => time));
    for (const moment of times) {
      const streams = without(({ time }) => time >= moment);
      const { codes } = await outcome(streams, { bookmark: mark });
      expect(codes, moment).to.include("AUDIT_ROLLED_BACK");
    }
    const replaced = await outcome(copy(other), { bookmark: mark });
    expect(replaced.codes).to.include("AUDIT_ROLLED_BACK");
  }).timeout(120_000);
});
