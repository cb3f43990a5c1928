import { expect } from "chai";
import { audited, type Audited } from "./audited.js";
import { HistoryBuilder, type Session } from "./history.js";

/** The audit of a key's life. */
async function keyed(
  life: (stage: { history: HistoryBuilder; session: Session }) => void,
): Promise<Audited> {
  const history = new HistoryBuilder();
  life({ history, session: history.openSession() });
  return await audited(history);
}

describe("a key", () => {
  it("may be abandoned and erased", async () => {
    const { codes } = await keyed(({ history }) => {
      history.propose();
      history.clientKeyEvent("abandoned", { reason: "cyd is away" });
      for (const node of history.nodes) history.nodeKeyEvent(node, "erased");
    });
    expect(codes).to.deep.equal([]);
  });

  it("may not sign unless it was activated", async () => {
    const { codes } = await keyed(({ history, session }) => {
      history.propose();
      for (const node of history.nodes) {
        history.nodeKeyEvent(node, "ready", { sealingKey: "A".repeat(43) });
        history.nodeKeyEvent(node, "accepted");
      }
      history.signed(session);
    });
    expect(codes).to.deep.equal(["AUDIT_SIGNED_WITH_INACTIVE_KEY"]);
  });

  it("may not be activated without a valid test signature, nor before the nodes accepted", async () => {
    const { codes } = await keyed(({ history, session }) => {
      history.propose();
      const fields = { accepted: [1, 2, 3], session: session.id, rid: history.id() };
      history.clientKeyEvent("activated", fields);
      for (const node of history.nodes) {
        history.nodeKeyEvent(node, "ready", { sealingKey: "A".repeat(43) });
        history.nodeKeyEvent(node, "accepted");
      }
      history.clientKeyEvent("activated", fields);
    });
    expect(codes).to.deep.equal(["AUDIT_KEY_EVENT_ILLEGAL", "AUDIT_KEY_UNTESTED"]);
  });

  it("must have a record that a dealer can have made", async () => {
    const { codes } = await keyed(({ history }) => history.propose({ modulus: "AAAA" }));
    expect(codes).to.deep.equal(["AUDIT_KEY_EVENT_ILLEGAL"]);
  });

  it("must be proposed by a client of its token, for nodes that exist", async () => {
    for (const wrong of [{ token: "other" }, { parties: ["ada", "bob", "zoe"] }, { minimum: 1 }]) {
      const { codes } = await keyed(({ history }) => history.propose(wrong));
      expect(codes).to.deep.equal(["AUDIT_KEY_EVENT_ILLEGAL"]);
    }
  });
});
