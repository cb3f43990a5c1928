/** @module Results that call a node a culprit: the audit believes what the record proves, not what it is told. */
import { expect } from "chai";
import type { FindingCode } from "../../../src/client/audit/findings.js";
import { explainSignings } from "../../../src/client/audit/explain.js";
import { formatSigningLine, listSignings } from "../../../src/client/audit/list.js";
import { carry } from "../../../src/streams/carried.js";
import { assembleMessage, type SignedMessage } from "../../../src/streams/envelope.js";
import { audited, memoryHistory } from "./audited.js";
import { HistoryBuilder, type Asked, type Session } from "./history.js";

interface Stage {
  readonly history: HistoryBuilder;
  readonly session: Session;
}

function begin(policy: object = {}): Stage {
  const history = new HistoryBuilder();
  const session = history.openSession();
  history.makeKey(session, policy);
  return { history, session };
}

/** Ada's right answer, and another message under its number that went past the stream. */
function twoWithOneNumber({ history, session }: Stage): { asked: Asked; shown: SignedMessage[] } {
  const asked = history.request(session, { parties: [1, 2, 3] });
  const answer = history.answer(1, asked);
  for (const party of [2, 3]) history.answer(party, asked);
  const { client, session: id, rid } = asked.body;
  const body = JSON.parse(Buffer.from(answer.payload).toString("utf8")) as object;
  const subject = { kind: "share", node: "ada", client, session: id, rid } as const;
  const other = history.sign("ada", "THSM_SHARE", subject, { ...body, time: history.time(7) });
  return { asked, shown: [answer, other] };
}

/** What a client says that has found a culprit: an event with the evidence, and the result. */
function blame({ history }: Stage, asked: Asked, code: string, shown: SignedMessage[]): void {
  const { client, rid } = asked.body;
  const evidence = shown.map(({ hash }) => hash);
  const event = { version: 1, type: "misbehaviour", client, node: "ada", verdict: "culprit", rid };
  const said = { code, text: "as shown", evidence, messages: shown.map(carry) };
  const subject = { kind: "blame", client, node: "ada" } as const;
  history.store(client, "THSM_AUDIT", subject, { ...event, ...said, time: history.time() });
  history.result(asked, [2, 3], { culprits: ["ada"], evidence });
}

/** What is said of ada, as a sentence → what the audit calls it; nothing else may be found. */
const cases: readonly [string, readonly FindingCode[], (stage: Stage) => void][] = [
  [
    "a right share",
    ["AUDIT_RESULT_FALSE_BLAME"],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [1, 2, 3] });
      for (const party of [1, 2, 3]) history.answer(party, asked);
      history.result(asked, [2, 3], { culprits: ["ada"] });
    },
  ],
  [
    "nothing, for it was not asked",
    ["AUDIT_RESULT_FALSE_BLAME"],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [2, 3] });
      for (const party of [2, 3]) history.answer(party, asked);
      history.result(asked, [2, 3], { culprits: ["ada"], evidence: ["00".repeat(32)] });
    },
  ],
  [
    "two messages with one number, which are shown",
    ["AUDIT_NODE_CULPRIT"],
    (stage) => {
      const { asked, shown } = twoWithOneNumber(stage);
      blame(stage, asked, "chain-fork", shown);
    },
  ],
  [
    "two messages with one number, of which one is shown",
    ["AUDIT_FALSE_BLAME", "AUDIT_RESULT_FALSE_BLAME"],
    (stage) => {
      const { asked, shown } = twoWithOneNumber(stage);
      blame(stage, asked, "chain-fork", shown.slice(1));
    },
  ],
  [
    "what an operator has settled, over another request",
    ["AUDIT_NODE_CULPRIT", "AUDIT_RESULT_FALSE_BLAME"],
    (stage) => {
      const { history, session } = stage;
      const { asked, shown } = twoWithOneNumber(stage);
      blame(stage, asked, "chain-fork", shown);
      const cleared = { version: 1, type: "node-cleared", operator: "oda", node: "ada" };
      const subject = { kind: "clear", operator: "oda", node: "ada" } as const;
      history.store("oda", "THSM_AUDIT", subject, { ...cleared, time: history.time() });
      const later = history.request(session, { parties: [1, 2, 3] });
      for (const party of [1, 2, 3]) history.answer(party, later);
      history.result(later, [2, 3], { culprits: ["ada"] });
    },
  ],
  [
    "silence, as a suspect",
    [],
    ({ history, session }) => {
      const asked = history.request(session, { parties: [1, 2, 3] });
      for (const party of [2, 3]) history.answer(party, asked);
      history.result(asked, [2, 3], { suspects: ["ada"], evidence: [asked.hash] });
    },
  ],
];

describe("a node that a result names", () => {
  for (const [what, codes, say] of cases) {
    it(`is judged by the record when it is for ${what}`, async () => {
      const stage = begin();
      say(stage);
      expect((await audited(stage.history)).codes).to.deep.equal([...codes]);
    });
  }

  it("is a culprit by a right share without the proof that is due", async () => {
    const stage = begin({ proofs: "always" });
    const { history, session } = stage;
    const asked = history.request(session, { parties: [1, 2, 3] });
    const answer = history.answer(1, asked);
    for (const party of [2, 3]) {
      history.answer(party, asked, { proofs: history.proofs(party, asked.body) });
    }
    const kept = (stream: "THSM_KEY" | "THSM_REQ"): SignedMessage[] =>
      history.streams[stream].map(({ subject, payload, signature }) =>
        assembleMessage(stream, subject, payload, signature),
      );
    const request = kept("THSM_REQ").filter(({ hash }) => hash === asked.hash);
    const charter = kept("THSM_KEY").filter(({ payload }) =>
      /"type":"(proposed"|accepted".*"ada")/.test(Buffer.from(payload).toString("utf8")),
    );
    blame(stage, asked, "wrong-proof", [...charter, ...request, answer]);
    const { codes } = await audited(history);
    expect(codes).to.include("AUDIT_NODE_CULPRIT");
    expect(codes).to.not.include("AUDIT_RESULT_FALSE_BLAME");
  });

  it("is shown with the signing, as its client's word", async () => {
    const stage = begin();
    const { history, session } = stage;
    const { asked, shown } = twoWithOneNumber(stage);
    blame(stage, asked, "chain-fork", shown);
    const silent = history.request(session, { parties: [1, 2, 3] });
    for (const party of [2, 3]) history.answer(party, silent);
    history.result(silent, [2, 3], { suspects: ["ada", "eve"] });

    const source = memoryHistory(history.streams);
    const lines: string[] = [];
    for await (const item of listSignings(source, history.cluster)) {
      if (item.type === "signing") lines.push(formatSigningLine(item.line));
    }
    expect(lines.at(-2)).to.contain("signed by bob,cyd in 12 ms, NAMES CULPRIT ada");
    expect(lines.at(-1)).to.contain("signed by bob,cyd in 12 ms, NAMES SUSPECT ada,eve");

    const { rid } = asked.body;
    const { stories } = await explainSignings(source, history.cluster, [{ rid }]);
    const steps = stories.flatMap((story) => story.steps.map(({ by, text }) => `${by} ${text}`));
    expect(steps.join("\n"))
      .to.contain("client knot says of node ada: culprit, as shown")
      .and.contain("client knot signed with the shares of bob, cyd in 12 ms, NAMES CULPRIT ada");
  });
});
