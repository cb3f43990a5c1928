import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Note } from "../../../src/checkpoint/note.js";
import {
  checkProof,
  proveConsistency,
  proveInclusion,
  readProof,
  type Proof,
} from "../../../src/client/audit/proofs.js";
import { failure } from "../../support/errors.js";
import { memoryHistory } from "./audited.js";
import { noteOf } from "./checkpoint-notes.js";
import { honestHistory, type HistoryBuilder } from "./history.js";

/** A note that all nodes have signed. */
function witnessed(history: HistoryBuilder, size: number): Note {
  const notes = history.nodes.map((node) => noteOf(history, node, size));
  return {
    text: notes[0]?.text ?? "",
    signatures: notes.flatMap(({ signatures }) => signatures),
  };
}

function altered(proof: Proof, fields: object): object {
  return Object.assign({}, proof, fields);
}

describe("a proof", () => {
  const history = honestHistory();
  const { cluster } = history;
  const source = memoryHistory(history.streams);
  const all = history.streams.THSM_REQ.length;
  const note = witnessed(history, all);
  let directory: string;
  let file: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "thsm-proof-"));
    file = join(directory, "a.proof");
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function reread(proof: object): Promise<Proof> {
    await writeFile(file, JSON.stringify(proof));
    return await readProof(file);
  }

  it("of each request under each checkpoint holds, by id and by number", async () => {
    for (let size = 1; size <= all; size++) {
      const kept = witnessed(history, size);
      for (const { seq, subject } of history.streams.THSM_REQ.slice(0, size)) {
        const rid = subject.split(".").at(-1) ?? "";
        const proof = await proveInclusion(source, cluster, kept, rid);
        expect(await proveInclusion(source, cluster, kept, String(seq))).to.deep.equal(proof);
        const verdict = checkProof(cluster, await reread(proof), 3);
        expect(verdict).to.deep.include({ holds: true, signers: ["ada", "bob", "cyd"] });
        expect(verdict.text).to.contain(rid).and.to.contain(`entry ${seq} of the ${size}`);
      }
    }
  });

  it("that a checkpoint continues another one holds, and never the other way round", async () => {
    for (let size = 1; size <= all; size++) {
      const older = witnessed(history, size);
      const proof = await proveConsistency(source, cluster, older, note);
      expect(checkProof(cluster, await reread(proof), 3).holds, String(size)).to.equal(true);
      if (proof.type !== "consistency" || size === all) continue;
      const turned = altered(proof, { older: proof.newer, newer: proof.older });
      expect(checkProof(cluster, await reread(turned), 1).holds).to.equal(false);
      await failure(proveConsistency(source, cluster, note, older), "ERR_INVALID_ARGUMENT");
    }
  });

  it("does not hold when anything of it is changed", async () => {
    const proof = await proveInclusion(source, cluster, note, "3");
    if (proof.type !== "inclusion") throw new TypeError("no inclusion proof");
    const [message] = proof.messages;
    if (message === undefined) throw new RangeError("no message");
    const other = await proveInclusion(source, cluster, note, "4");
    const forged = { ...message, payload: message.payload.replace(/"seq":\d+/, '"seq":77') };
    expect(forged.payload).to.not.equal(message.payload);
    const stranger = { ...note, text: note.text.replace(`\n${all}\n`, `\n${all + 1}\n`) };
    for (const changed of [
      altered(proof, { seq: proof.seq + 1 }),
      altered(proof, { proof: other.proof }),
      altered(proof, { proof: proof.proof.slice(1) }),
      altered(proof, { proof: [...proof.proof, ...proof.proof.slice(0, 1)] }),
      altered(proof, { messages: [forged] }),
      altered(proof, { messages: [message, message] }),
      altered(proof, { checkpoint: proof.checkpoint.replace(note.text, stranger.text) }),
      altered(proof, { checkpoint: "hello" }),
    ]) {
      expect(checkProof(cluster, await reread(changed), 1).holds).to.equal(false);
    }
    const once = await proveInclusion(source, cluster, noteOf(history, "ada", all), "3");
    expect(checkProof(cluster, once, 1).holds).to.equal(true);
    expect(checkProof(cluster, once, 2).text).to.contain("signed by 1 nodes, 2 are asked for");
  });

  it("is not made of a history that is not what the checkpoint is over", async () => {
    const wrong = noteOf(history, "ada", all, 1);
    await failure(proveInclusion(source, cluster, wrong, "3"), "ERR_AUDIT_MISMATCH");
    await failure(proveConsistency(source, cluster, note, wrong), "ERR_AUDIT_MISMATCH");
    const cut = { ...history.streams, THSM_REQ: history.streams.THSM_REQ.slice(0, 3) };
    await failure(proveInclusion(memoryHistory(cut), cluster, note, "2"), "ERR_AUDIT_MISMATCH");
    const small = witnessed(history, 3);
    for (const absent of ["0", "4", "AAAAAAAAAAAAAAAAAAAAAA", ""]) {
      await failure(proveInclusion(source, cluster, small, absent), "ERR_INVALID_ARGUMENT");
    }
  });

  it("is a file that is read whole, or refused", async () => {
    const proof = await proveInclusion(source, cluster, note, "3");
    for (const wrong of [
      altered(proof, { version: 2 }),
      altered(proof, { type: "other" }),
      altered(proof, { more: 1 }),
      altered(proof, { proof: ["A"] }),
      {},
    ]) {
      await failure(reread(wrong), "ERR_INVALID_ARGUMENT");
    }
    await failure(readProof(join(directory, "absent")), "ERR_INVALID_ARGUMENT");
  });
});
