import { expect } from "chai";
import * as fc from "fast-check";
import {
  checkpointText,
  isSignedBy,
  nodeNoteKey,
  originOf,
  parseCheckpoint,
  signCheckpoint,
} from "../../src/checkpoint/checkpoint.js";
import { formatNote, noteKeyHash, parseNote } from "../../src/checkpoint/note.js";
import { HsmError } from "../../src/errors.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import { failure } from "../support/errors.js";

const identity = new IdentityKey(new Uint8Array(32).fill(7));
const key = nodeNoteKey("test", "n1", identity.publicKey);
const checkpoint = { origin: originOf("test"), size: 258, root: Buffer.alloc(32, 5) };
const text = checkpointText(checkpoint);
const note = { text, signatures: [signCheckpoint(text, key, identity)] };

describe("a checkpoint", () => {
  it("is three lines, and read as it was written", () => {
    expect(text).to.equal("test/THSM_REQ\n258\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n");
    expect(parseCheckpoint(text)).to.deep.equal(checkpoint);
  });

  it("is refused when it is anything else", async () => {
    for (const wrong of [
      "",
      text.trimEnd(),
      `${text}more\n`,
      text.replace("258", "0258"),
      text.replace("258", "-1"),
      text.replace("258", "12345678901234567"),
      text.replace("BQU=", "BQV="),
      text.replace("BQU=", "BQ=="),
      text.slice(text.indexOf("\n")),
    ]) {
      await failure(() => parseCheckpoint(wrong), "ERR_INVALID_ARGUMENT");
    }
  });
});

describe("a signed note", () => {
  it("is read as it was written, and signed by whom it names", () => {
    const file = formatNote(note);
    const [, , , empty, line] = file.split("\n");
    expect(empty).to.equal("");
    expect(line).to.match(/^— test\/n1 [A-Za-z0-9+/]{91}=$/);
    const read = parseNote(file);
    expect(formatNote(read)).to.equal(file);
    expect(isSignedBy(read, key)).to.equal(true);
  });

  it("is signed by nobody else, and for no other text", () => {
    const other = new IdentityKey(new Uint8Array(32).fill(8));
    expect(isSignedBy(note, nodeNoteKey("test", "n1", other.publicKey))).to.equal(false);
    expect(isSignedBy(note, nodeNoteKey("test", "n2", identity.publicKey))).to.equal(false);
    expect(isSignedBy({ ...note, text: text.replace("258", "259") }, key)).to.equal(false);
  });

  it("has the key hash of the note package's example", () => {
    // golang.org/x/mod/sumdb/note: PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
    const publicKey = Buffer.from("GlzZBxQ8OExB6DDFvOEqqIF+xWSaqr8sMTiLNbLXRNY=", "base64");
    expect(noteKeyHash({ name: "PeterNeumann", type: "ed25519", publicKey })).to.equal("c74f20a3");
  });

  it("is refused when it is none, whatever it is", async () => {
    const file = formatNote(note);
    for (const wrong of [
      "",
      text,
      file.trimEnd(),
      file.replace("— ", "- "),
      file.replace("\n\n", "\n"),
      `${file}\n`,
      file.replace("test/n1 ", "test/n1 !"),
      file.replace("258", "2\u00008"),
      `${"x".repeat(70_000)}${file}`,
    ]) {
      await failure(() => parseNote(wrong), "ERR_INVALID_ARGUMENT");
    }
    fc.assert(
      fc.property(fc.string(), (any) => {
        expect(() => parseNote(any)).to.throw(HsmError);
      }),
    );
  });
});
