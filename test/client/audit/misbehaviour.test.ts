/** @module What members can do with their own keys, and that it shows and names them. */
import { expect } from "chai";
import type { FindingCode } from "../../../src/client/audit/findings.js";
import { audited } from "./audited.js";
import { HistoryBuilder, type Session } from "./history.js";

interface Stage {
  readonly history: HistoryBuilder;
  readonly session: Session;
}

/** An honest beginning: three nodes, a key, a session. */
function begin(): Stage {
  const history = new HistoryBuilder();
  const session = history.openSession();
  history.makeKey(session);
  return { history, session };
}

/** What members did, as a sentence → what the audit calls it; nothing else may be found. */
const cases: readonly [string, readonly FindingCode[], (stage: Stage) => void][] = [
  [
    "a node sends a wrong share, and the client combines two others",
    ["AUDIT_WRONG_SHARE"],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [1, 2, 3] });
      const other = history.request(session, { parties: [1] });
      history.answer(1, asked, { shares: history.shares(1, other.body) });
      history.answer(1, other);
      history.answer(2, asked);
      history.answer(3, asked);
      history.result(asked, [2, 3], { culprits: ["ada"] });
    },
  ],
  [
    "a node sends bytes that are no share",
    ["AUDIT_WRONG_SHARE"],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [1, 2, 3] });
      history.answer(1, asked, { shares: ["AAAA"] });
      history.answer(2, asked);
      history.answer(3, asked);
      history.result(asked, [2, 3]);
    },
  ],
  [
    "a client records a wrong signature",
    ["AUDIT_RESULT_WRONG_SIGNATURE"],
    ({ history, session }) => {
      const asked = history.request(session);
      for (const party of asked.body.parties) history.answer(party, asked);
      const other = history.request(session);
      history.result(asked, [1, 2], { signatures: history.shares(1, other.body) });
    },
  ],
  [
    "a client records a result of a quorum that did not answer",
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.answer(1, asked);
      history.result(asked, [1, 2]);
    },
  ],
  [
    "a client names fewer parties than it takes",
    ["AUDIT_RESULT_WITHOUT_QUORUM"],
    ({ history, session }) => {
      const asked = history.request(session);
      for (const party of asked.body.parties) history.answer(party, asked);
      history.result(asked, [1, 2], { quorum: [1] });
    },
  ],
  [
    "a client names a quorum with a node whose share was wrong",
    ["AUDIT_RESULT_WITHOUT_QUORUM", "AUDIT_WRONG_SHARE"],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [1, 2, 3] });
      const other = history.request(session, { parties: [3] });
      for (const party of [1, 2]) history.answer(party, asked);
      history.answer(3, asked, { shares: history.shares(3, other.body) });
      history.result(asked, [2, 3]);
    },
  ],
  [
    "a client records a result of another key",
    ["AUDIT_RESULT_WRONG_TERMS"],
    ({ history, session }) => {
      const asked = history.request(session);
      for (const party of asked.body.parties) history.answer(party, asked);
      history.result(asked, [1, 2], { epoch: 1 });
    },
  ],
  [
    "nodes sign for a client without the right to the key's token",
    ["AUDIT_SHARE_AGAINST_POLICY"],
    ({ history }) => {
      const asked = history.request(history.openSession("bind", "zones"));
      history.answer(1, asked);
    },
  ],
  [
    "a client records two results",
    ["AUDIT_RESULT_DUPLICATE"],
    ({ history, session }) => {
      const asked = history.signed(session);
      history.result(asked, asked.body.parties, { elapsedMs: 13 });
    },
  ],
  [
    "a client records a result of nothing",
    ["AUDIT_RESULT_WITHOUT_REQUEST"],
    ({ history, session }) => {
      const asked = history.signed(session);
      history.result(asked, [1, 2], { rid: history.id() });
    },
  ],
  [
    "a node answers what nobody asked",
    ["AUDIT_SHARE_WITHOUT_REQUEST"],
    ({ history, session }) => {
      const asked = history.signed(session);
      history.answer(1, asked, { rid: history.id() });
    },
  ],
  [
    "a node answers another request than is stored",
    ["AUDIT_SHARE_WRONG_REQUEST_HASH"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.answer(1, asked, { request: "00".repeat(32) });
    },
  ],
  [
    "a node answers a request at another place than it is stored",
    ["AUDIT_SHARE_WRONG_REQUEST_HASH"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.answer(1, asked, { reqSeq: asked.seq + 1 });
    },
  ],
  [
    "a node answers unasked",
    ["AUDIT_SHARE_NOT_ASKED"],
    ({ history, session }) => void history.answer(3, history.request(session)),
  ],
  [
    "a node answers for another party",
    ["AUDIT_SHARE_WRONG_PARTY"],
    ({ history, session }) => void history.answer(1, history.request(session), { party: 2 }),
  ],
  [
    "a node answers under another epoch",
    ["AUDIT_SHARE_WRONG_TERMS"],
    ({ history, session }) => void history.answer(1, history.request(session), { epoch: 1 }),
  ],
  [
    "a node answers with too many shares",
    ["AUDIT_SHARE_WRONG_TERMS"],
    ({ history, session }) =>
      void history.answer(1, history.request(session), { shares: ["AAAA", "AAAA"] }),
  ],
  [
    "a node answers too late",
    ["AUDIT_SHARE_AFTER_EXPIRY"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.answer(1, asked, {
        time: new Date(Date.parse(asked.body.expires) + 1).toISOString(),
      });
    },
  ],
  [
    "a node answers twice, differently",
    ["AUDIT_SHARE_DUPLICATE"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.answer(1, asked);
      history.answer(1, asked);
    },
  ],
  [
    "nodes sign what the policy does not allow",
    ["AUDIT_SHARE_AGAINST_POLICY"],
    ({ history, session }) => {
      const asked = history.request(session, { hash: "sha512" });
      history.answer(1, asked, { shares: ["AAAA"] });
    },
  ],
  [
    "a node sends a proof that does not hold",
    ["AUDIT_WRONG_PROOF"],
    ({ history, session }) => {
      const asked = history.request(session, { kind: "explain" });
      const proofs = history.proofs(2, asked.body);
      history.answer(1, asked, { kind: "explanation", proofs });
    },
  ],
  [
    "a node explains without a proof",
    ["AUDIT_WRONG_PROOF"],
    ({ history, session }) =>
      void history.answer(1, history.request(session, { kind: "explain" }), {
        kind: "explanation",
      }),
  ],
  [
    "a node signs after it confirmed the erasure",
    ["AUDIT_SHARE_AFTER_ERASED"],
    ({ history, session }) => {
      const asked = history.request(session);
      history.clientKeyEvent("destroyed", {});
      history.answer(1, asked);
      history.nodeKeyEvent("bob", "erased");
      history.answer(2, asked);
    },
  ],
  [
    "a client escalates to other inputs",
    ["AUDIT_REQUEST_WRONG_ATTEMPT"],
    ({ history, session }) => {
      const { body } = history.request(session);
      history.request(session, { attempt: 2, of: body.rid, parties: [3] });
    },
  ],
  [
    "a client escalates nothing",
    ["AUDIT_REQUEST_WRONG_ATTEMPT"],
    ({ history, session }) => {
      const asked = history.request(session, { attempt: 2, of: history.id(), parties: [3] });
      history.answer(3, asked);
    },
  ],
  [
    "a client leaves out a number",
    ["AUDIT_SESSION_GAP"],
    ({ history, session }) => {
      session.requests++;
      history.signed(session);
    },
  ],
  [
    "a client uses a number twice",
    ["AUDIT_SESSION_GAP"],
    ({ history, session }) => {
      session.requests--;
      history.signed(session);
    },
  ],
  [
    "a client closes a session with another number",
    ["AUDIT_SESSION_GAP"],
    ({ history, session }) => history.closeSession(session, { requests: 5 }),
  ],
  [
    "a client opens a session twice",
    ["AUDIT_SESSION_DUPLICATE"],
    ({ history, session }) =>
      void history.clientAudit(session, "session-opened", { token: "zones", application: "x" }),
  ],
  [
    "a client uses a session that it never opened",
    ["AUDIT_SESSION_NOT_OPENED"],
    ({ history }) =>
      void history.signed({ client: "knot", id: history.id(), token: "zones", requests: 0 }),
  ],
  [
    "a client uses a session of another token",
    ["AUDIT_SESSION_WRONG_TOKEN"],
    ({ history }) => void history.signed(history.openSession("knot", "other")),
  ],
  [
    "a client without the right to a key's token destroys it",
    ["AUDIT_KEY_EVENT_ILLEGAL"],
    ({ history }) => void history.clientKeyEvent("destroyed", { client: "bind" }),
  ],
  [
    "a key is activated twice",
    ["AUDIT_KEY_EVENT_ILLEGAL"],
    ({ history, session }) =>
      void history.clientKeyEvent("activated", {
        accepted: [1, 2, 3],
        session: session.id,
        rid: history.id(),
      }),
  ],
  [
    "a node accepts a share twice",
    ["AUDIT_KEY_EVENT_ILLEGAL"],
    ({ history }) => history.nodeKeyEvent("ada", "accepted"),
  ],
  [
    "a node erases the share of an active key",
    ["AUDIT_KEY_EVENT_ILLEGAL"],
    ({ history }) => history.nodeKeyEvent("ada", "erased"),
  ],
  [
    "a node signs two messages with one number",
    ["AUDIT_CHAIN_FORK"],
    ({ history }) => {
      const body = { version: 1, type: "node-started", node: "ada", boot: history.id() };
      const fork = { ...body, time: history.time(), n: 3, prev: "00".repeat(32) };
      history.store("ada", "THSM_AUDIT", { kind: "node-audit", node: "ada" }, fork);
    },
  ],
  [
    "a node does not continue its chain",
    ["AUDIT_CHAIN_BROKEN"],
    ({ history }) => {
      const body = { version: 1, type: "node-started", node: "ada", boot: history.id() };
      const next = { ...body, time: history.time(), n: 4, prev: "00".repeat(32) };
      history.store("ada", "THSM_AUDIT", { kind: "node-audit", node: "ada" }, next);
    },
  ],
  [
    "a node speaks for another",
    ["AUDIT_UNKNOWN_SENDER"],
    ({ history }) => {
      const body = { version: 1, type: "node-started", node: "ada", boot: history.id() };
      const next = { ...body, time: history.time(), n: 4, prev: "00".repeat(32) };
      history.store("bob", "THSM_AUDIT", { kind: "node-audit", node: "ada" }, next);
    },
  ],
];

describe("a misbehaving member", () => {
  for (const [title, codes, misbehave] of cases) {
    it(`is found when ${title}`, async () => {
      const stage = begin();
      misbehave(stage);
      expect((await audited(stage.history)).codes).to.deep.equal([...codes]);
    });
  }

  it("cannot spoil another client's request by using its id", async () => {
    const { history, session } = begin();
    const asked = history.request(session);
    history.request(history.openSession("bind", "zones"), { rid: asked.body.rid });
    for (const party of asked.body.parties) history.answer(party, asked);
    history.result(asked, [1, 2]);
    expect((await audited(history)).codes).to.deep.equal([]);
  });

  it("is named", async () => {
    const { history, session } = begin();
    const asked = history.request(session, { parties: [1, 2, 3] });
    history.answer(1, asked, { shares: ["AAAA"] });
    for (const party of [2, 3]) history.answer(party, asked);
    history.result(asked, [2, 3]);
    const { findings } = await audited(history);
    const [wrong] = findings.filter(({ code }) => code === "AUDIT_WRONG_SHARE");
    expect(wrong).to.include({ node: "ada", client: "knot", stream: "THSM_SHARE" });
    expect(wrong?.text).to.match(/^node ada answered request .* of client knot with a wrong share/);
  });

  it("is only suspected while the shares do not tell who is wrong", async () => {
    const history = new HistoryBuilder({ parties: 5, threshold: 3 });
    const session = history.openSession();
    history.makeKey(session);
    const asked = history.request(session, { parties: [1, 2, 3, 4] });
    const other = history.request(session, { parties: [4] });
    for (const party of [1, 2, 3]) history.answer(party, asked);
    history.answer(4, asked, { shares: history.shares(4, other.body) });
    history.result(asked, [1, 2, 3]);
    expect((await audited(history)).codes).to.deep.equal(["AUDIT_SUSPECT_SHARE"]);
  });
});

describe("what is only worth a note", () => {
  it("is a request whose client went away, an open session, an event of a later version", async () => {
    const { history, session } = begin();
    const asked = history.request(session);
    for (const party of asked.body.parties) history.answer(party, asked);
    const later = { version: 2, type: "reshared", node: "ada", root: "…" };
    history.storeChained("ada", "THSM_AUDIT", { kind: "node-audit", node: "ada" }, later);
    history.nodeStarted("ada");
    const { findings, summary } = await audited(history);
    expect(findings.map(({ code }) => code)).to.have.members([
      "AUDIT_REQUEST_WITHOUT_RESULT",
      "AUDIT_SESSION_OPEN",
      "AUDIT_UNKNOWN_EVENT",
    ]);
    expect(summary).to.include({ findings: 0, notes: 3, signaturesValid: 2 });
  });

  it("is a request for a key that is not there, and a key that is destroyed twice", async () => {
    const { history, session } = begin();
    history.request(session, { key: "f".repeat(32) });
    history.closeSession(session);
    history.clientKeyEvent("destroyed", {});
    history.clientKeyEvent("destroyed", { reason: "again" });
    const { findings } = await audited(history);
    expect(findings.map(({ code }) => code)).to.have.members([
      "AUDIT_REQUEST_UNKNOWN_KEY",
      "AUDIT_REQUEST_WITHOUT_RESULT",
      "AUDIT_KEY_EVENT_REPEATED",
    ]);
  });
});
