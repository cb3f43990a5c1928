import { expect } from "chai";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/log.js";
import { acceptHistory, HistoryGuard } from "../../src/node/history-guard.js";
import type { StoredMessage } from "../../src/streams/envelope.js";
import type { Entry, StreamReader, StreamState } from "../../src/streams/read.js";
import { failure } from "../support/errors.js";

const hashOf = (text: string): string => Buffer.from(text).toString("hex").padEnd(64, "0");

function message(seq: number, text: string): StoredMessage {
  const time = "2026-11-22T00:00:00.000Z";
  const payload = Buffer.from(text);
  return {
    stream: "THSM_KEY",
    subject: "s",
    payload,
    signature: "",
    hash: hashOf(text),
    seq,
    time,
  };
}

describe("the guard of history", () => {
  let dataDir: string;
  let states: Record<string, StreamState | undefined>;
  let keys: Map<number, string>;
  let newest: StoredMessage;

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "thsm-guard-"));
    const state = { created: "then", first: 1, last: 7 };
    states = { THSM_REQ: state, THSM_KEY: state };
    keys = new Map([[7, "seven"]]);
    newest = message(7, "seven");
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  // Only what the guard asks.
  const reader: Pick<StreamReader, "state" | "at"> = {
    state: (stream) => Promise.resolve(states[stream]),
    at: (_, seq): Promise<Entry | undefined> => {
      const text = keys.get(seq);
      return Promise.resolve(text === undefined ? undefined : { seq, message: message(seq, text) });
    },
  };
  const open = (): Promise<HistoryGuard> => HistoryGuard.open({ dataDir, log: silentLogger });

  /** What it says after a change, in the same life and in the next. */
  async function breaches(change: () => void): Promise<(string | undefined)[]> {
    const guard = await open();
    guard.see(message(5, "a request"));
    await guard.compare(reader, newest);
    expect(guard.breach).to.equal(undefined);
    change();
    await guard.compare(reader, newest);
    const next = await open();
    await next.compare(reader, undefined);
    return [guard.breach?.message, next.breach?.message];
  }

  it("sees a stream that was made anew", async () => {
    const text = "THSM_REQ was made at now, not at then: it is another one";
    const change = (): void => void (states["THSM_REQ"] = { created: "now", first: 1, last: 9 });
    expect(await breaches(change)).to.deep.equal([text, text]);
  });

  it("sees a stream that became shorter than what was read of it", async () => {
    const text = "THSM_REQ ends at 4, and had 5 messages before";
    const change = (): void => void (states["THSM_REQ"] = { created: "then", first: 1, last: 4 });
    expect(await breaches(change)).to.deep.equal([text, text]);
  });

  it("sees that a stream is gone", async () => {
    const change = (): void => void (states["THSM_KEY"] = undefined);
    expect(await breaches(change)).to.deep.equal(["THSM_KEY is gone", "THSM_KEY is gone"]);
  });

  it("sees that the first keys are gone", async () => {
    const text = "THSM_KEY begins with message 7: those before it are gone";
    const change = (): void => void (states["THSM_KEY"] = { created: "then", first: 7, last: 7 });
    expect(await breaches(change)).to.deep.equal([text, text]);
  });

  it("sees another message in a known place", async () => {
    const text = "THSM_KEY has another message 7 than before";
    expect(await breaches(() => keys.set(7, "other"))).to.deep.equal([text, text]);
  });

  it("sees two requests under one number, until the next start", async () => {
    const change = (): void => {};
    const guard = await open();
    guard.see(message(5, "one"));
    guard.see(message(5, "one"));
    guard.see(message(6, "two"));
    expect(guard.breach).to.equal(undefined);
    guard.see(message(5, "three"));
    expect(() => guard.require()).to.throw("THSM_REQ has held two requests as number 5");
    await guard.compare(reader, newest);
    expect(guard.breach?.code).to.equal("ERR_AUDIT_MISMATCH");
    expect(await breaches(change)).to.deep.equal([undefined, undefined]);
  });

  it("trusts again what is whole again, and what its operator accepts", async () => {
    const right = states["THSM_REQ"];
    await breaches(() => void (states["THSM_REQ"] = { created: "then", first: 1, last: 4 }));
    const guard = await open();
    await guard.compare(reader, newest);
    expect(guard.breach).not.to.equal(undefined);
    states["THSM_REQ"] = right;
    await guard.compare(reader, newest);
    expect(guard.breach).to.equal(undefined);
    states["THSM_REQ"] = { created: "now", first: 1, last: 0 };
    await acceptHistory(dataDir);
    const next = await open();
    await next.compare(reader, newest);
    expect(next.breach).to.equal(undefined);
  });

  it("waits for streams that were never there, and refuses a damaged memory", async () => {
    states = {};
    await failure((await open()).compare(reader, undefined), "ERR_BROKER_UNREACHABLE");
    for (const text of ["", "[]x", '{"THSM_REQ":{"created":1}}', "null"]) {
      writeFileSync(join(dataDir, "seen"), text);
      const error = await failure(open(), "ERR_JOURNAL");
      expect(error.message).to.include("--accept-history");
    }
  });
});
