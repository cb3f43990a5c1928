/** @module A history with something of everything in it, for a report to show. */
import { HistoryBuilder } from "../client/audit/history.js";

export const hostile = '</bdi><script>alert(1)</script> \u202Egpj.exe\u2066 & "quoted" \'\u0007';

/** With names that would like to be more, a lying node, a refusal, an escalation and a failure. */
export function busyHistory(): HistoryBuilder {
  const history = new HistoryBuilder({ parties: 5, threshold: 3 });
  for (const node of history.nodes) history.nodeStarted(node);
  const session = history.openSession();
  history.makeKey(session, { label: hostile });
  for (let i = 0; i < 12; i++) history.signed(session, { parties: [1 + (i % 3), 4, 5] });
  const slow = history.request(session);
  history.answer(1, slow);
  history.answer(2, slow);
  const { rid, inputs } = slow.body;
  const again = history.request(session, { attempt: 2, of: rid, parties: [4], inputs });
  history.answer(4, again);
  history.result(slow, [1, 2, 4], { elapsedMs: 1800 });
  const asked = history.request(session, { parties: [1, 2, 3, 4, 5] });
  const wrong = history.shares(1, history.request(session).body);
  history.answer(1, asked, { shares: wrong });
  for (const party of [2, 3, 4, 5]) history.answer(party, asked);
  history.result(asked, [2, 3, 4], { culprits: ["ada"], evidence: ["00".repeat(32)] });
  const refused = history.request(session, { hash: "sha1", inputs: ["00".repeat(20)] });
  for (const party of refused.body.parties) {
    history.answer(party, refused, { kind: "refusal", code: "ERR_POLICY", reason: hostile });
  }
  const { key } = history;
  history.clientAudit(session, "failure", {
    rid: refused.body.rid,
    key,
    code: "ERR_POLICY",
    reason: hostile,
  });
  history.closeSession(session);
  const other = history.openSession("knot", "zones", `${hostile} 4711`);
  history.signed(other);
  history.closeSession(other);
  return history;
}
