/** @module Checkpoints in a history and beside it: what an owner of the store can no longer hide. */
import { expect } from "chai";
import { clusterNoteKey } from "../../../src/checkpoint/checkpoint.js";
import { formatNote, parseNote, signatureOf, type Note } from "../../../src/checkpoint/note.js";
import { witnessedCheckpoint } from "../../../src/client/audit/witnessed.js";
import { keptStreams } from "../../../src/client/audit/sources.js";
import { failure } from "../../support/errors.js";
import { audited, memoryHistory } from "./audited.js";
import { noteOf } from "./checkpoint-notes.js";
import { HistoryBuilder, honestHistory } from "./history.js";

function publish(history: HistoryBuilder, node: string, note: Note, size: number): void {
  const body = { version: 1, type: "checkpoint", node, size, note: formatNote(note) };
  const subject = { kind: "node-checkpoint", node } as const;
  history.storeChained(node, "THSM_AUDIT", subject, { ...body, time: history.time() });
}

/** An honest history whose nodes have signed all of its requests. */
function begin(): { history: HistoryBuilder; size: number } {
  const history = honestHistory();
  const size = history.streams.THSM_REQ.length;
  for (const node of history.nodes) publish(history, node, noteOf(history, node, size), size);
  return { history, size };
}

describe("checkpoints", () => {
  it("of honest nodes fit, and are one note with the lines of those who agree", async () => {
    const { history, size } = begin();
    publish(history, "ada", noteOf(history, "ada", 3), 3);
    const note = await witnessedCheckpoint(memoryHistory(history.streams), history.cluster, 2);
    const kept = parseNote(note);
    expect(kept.text.split("\n")[1]).to.equal(String(size));
    expect(kept.signatures.map(({ name }) => name)).to.deep.equal([
      "test/ada",
      "test/bob",
      "test/cyd",
    ]);
    expect((await audited(history, { checkpoints: [kept] })).codes).to.deep.equal([]);
    const many = witnessedCheckpoint(memoryHistory(history.streams), history.cluster, 4);
    const { message } = await failure(many, "ERR_QUORUM_NOT_REACHED");
    expect(message).to.contain(`ada over ${size}, bob over ${size}, cyd over ${size}`);
  });

  it("name the node that has seen another history, or signs what is no checkpoint", async () => {
    const { history, size } = begin();
    publish(history, "bob", noteOf(history, "bob", 4, 1), 4);
    publish(history, "cyd", noteOf(history, "ada", size), size);
    const { codes, findings } = await audited(history);
    expect(codes).to.deep.equal(["AUDIT_CHECKPOINT_BAD", "AUDIT_CHECKPOINT_WRONG_ROOT"]);
    const named = findings.filter(({ code }) => codes.includes(code));
    expect(named.map(({ node }) => node)).to.have.members(["bob", "cyd"]);
  });

  it("are compared as they come, also with another one's of the same or a smaller size", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession();
    history.makeKey(session);
    for (let size = 2; size < 8; size++) {
      history.signed(session);
      for (const node of ["ada", "bob"]) publish(history, node, noteOf(history, node, size), size);
    }
    publish(history, "ada", noteOf(history, "ada", 3), 3);
    publish(history, "cyd", noteOf(history, "cyd", 5, 1), 5);
    publish(history, "cyd", noteOf(history, "cyd", 1, 1), 1);
    history.signed(session);
    publish(history, "cyd", noteOf(history, "cyd", 8, 1), 8);
    const { codes, findings } = await audited(history);
    expect(codes).to.deep.equal(["AUDIT_CHECKPOINT_WRONG_ROOT"]);
    const wrong = findings.filter(({ code }) => code === "AUDIT_CHECKPOINT_WRONG_ROOT");
    expect(wrong.map(({ text }) => /of (\d) requests/.exec(text)?.[1])).to.have.members([
      "5",
      "1",
      "8",
    ]);
  });

  it("tell that a node refuses because of another history", async () => {
    const { history } = begin();
    const body = {
      version: 1,
      type: "inconsistent",
      node: "ada",
      seq: 3,
      reason: "another entry 3",
    };
    const subject = { kind: "node-audit", node: "ada" } as const;
    history.storeChained("ada", "THSM_AUDIT", subject, { ...body, time: history.time() });
    expect((await audited(history)).codes).to.deep.equal(["AUDIT_NODE_INCONSISTENT"]);
  });

  it("kept elsewhere show a cut of all streams at one moment", async () => {
    const { history, size } = begin();
    const kept = parseNote(
      await witnessedCheckpoint(memoryHistory(history.streams), history.cluster, 2),
    );
    const moment = history.streams.THSM_REQ.at(4)?.time ?? "";
    for (const stream of keptStreams) {
      const before = history.streams[stream].filter(({ time }) => time < moment);
      history.streams[stream] = before.map((stored, index) => ({ ...stored, seq: index + 1 }));
    }
    expect((await audited(history)).codes).to.deep.equal([]);
    const { codes, findings } = await audited(history, { checkpoints: [kept] });
    expect(codes).to.deep.equal([
      "AUDIT_CHECKPOINT_BEYOND_STREAM",
      "AUDIT_CHECKPOINT_NOT_RECORDED",
    ]);
    const cut = findings.find(({ code }) => code === "AUDIT_CHECKPOINT_BEYOND_STREAM");
    expect(cut?.text).to.contain(`is over ${size} requests, THSM_REQ has 4`);
  });

  it("of strangers and of other clusters are none", async () => {
    const { history, size } = begin();
    const note = noteOf(history, "ada", size);
    const stranger = noteOf(history, "knot", size);
    const elsewhere = { ...note, text: note.text.replace("test/", "other/") };
    for (const wrong of [stranger, elsewhere, { ...note, text: "hello\n" }]) {
      const { codes } = await audited(history, { checkpoints: [wrong] });
      expect(codes).to.deep.equal(["AUDIT_CHECKPOINT_BAD"]);
    }
  });

  it("of a key that signs other things, or that nobody has made, are none", async () => {
    const { history, size } = begin();
    const note = noteOf(history, "ada", size);
    const [proposed] = history.streams.THSM_KEY;
    const keyId = proposed?.subject.split(".").at(-1) ?? "";
    for (const id of [keyId, "0".repeat(32)]) {
      const key = clusterNoteKey(history.cluster.name, id, new Uint8Array(8));
      const signatures = [...note.signatures, signatureOf(key, new Uint8Array(128))];
      const { codes, findings } = await audited(history, {
        checkpoints: [{ ...note, signatures }],
      });
      expect(codes).to.deep.equal(["AUDIT_CHECKPOINT_BAD"]);
      const bad = findings.find(({ code }) => code === "AUDIT_CHECKPOINT_BAD");
      expect(bad?.text).to.contain(`no key ${id} that signs checkpoints`);
    }
  });
});
