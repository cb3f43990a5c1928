/** @module The chain of a session's events: what a client, or whoever owns the store, cannot hide. */
import { expect } from "chai";
import { audited } from "./audited.js";
import { HistoryBuilder } from "./history.js";

describe("a session's events", () => {
  it("show that the client signed two of them with one number", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    history.signed(session);
    const { client, id } = session;
    const { rid } = history.request(session).body;
    const head = { version: 2, type: "failure", client, session: id, rid, key: history.key };
    const text = { code: "ERR_DEADLINE", reason: "late", time: history.time() };
    const body = { ...head, ...text, n: 2, prev: "00".repeat(32) };
    history.store(client, "THSM_AUDIT", { kind: "client-audit", client, session: id }, body);
    const { codes, findings } = await audited(history);
    expect(codes).to.deep.equal(["AUDIT_CHAIN_FORK"]);
    const fork = findings.find(({ code }) => code === "AUDIT_CHAIN_FORK");
    expect(fork).to.include({ client, stream: "THSM_AUDIT" });
    expect(fork?.text).to.equal(
      `client ${client} in session ${id} signed two different messages as its number 2`,
    );
  });

  it("show that one of them is gone though all numbers were rewritten", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    history.signed(session);
    history.signed(session);
    const events = history.streams.THSM_AUDIT;
    events.splice(-2, 1);
    for (const [index, stored] of events.entries()) stored.seq = index + 1;
    expect((await audited(history)).codes).to.deep.equal(["AUDIT_CHAIN_GAP"]);
  });

  it("show that one of them does not follow the one before", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.clientAudit(session, "session-closed", { requests: 0, prev: "11".repeat(32) });
    expect((await audited(history)).codes).to.deep.equal(["AUDIT_CHAIN_BROKEN"]);
  });
});
