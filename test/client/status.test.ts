import { expect } from "chai";
import { Heartbeat } from "../../src/streams/beats.js";
import { notesOf, sharesPerSecond, warningsOf } from "../../src/client/status.js";

describe("the warnings of thsm status", () => {
  const node = { node: "n1", alive: true };
  const stream = (bytes: number, maxBytes = 1000): object => ({
    stream: "THSM_REQ",
    messages: 1,
    bytes,
    maxBytes,
  });
  const warnings = (found: object): string[] =>
    warningsOf(Object.assign({ nodes: [node], blames: [], streams: [], server: "2.10.27" }, found));

  const cases: [what: string, found: object, expected: string[]][] = [
    ["none when all is well", { streams: [stream(799)] }, []],
    ["a stream from 80 % on", { streams: [stream(800)] }, ["THSM_REQ is 80 % full"]],
    ["none for a stream without a limit", { streams: [stream(800, -1)] }, []],
    ["a node that is not heard", { nodes: [{ ...node, alive: false }] }, ["node n1 is not heard"]],
    [
      "a node that halted",
      { nodes: [{ ...node, halted: "history was changed" }] },
      ["node n1 refuses to sign: history was changed"],
    ],
    [
      "a culprit",
      { blames: [{ node: "n1", verdict: "culprit", code: "wrong-share" }] },
      ["node n1 is a culprit (wrong-share)"],
    ],
    ["none for an old server", { server: "2.9.10" }, []],
  ];
  for (const [what, found, expected] of cases) {
    it(what, () => expect(warnings(found)).to.deep.equal(expected));
  }
});

describe("the notes of thsm status", () => {
  const notes = (server: string, ...versions: string[]): string[] =>
    notesOf({ server, nodes: versions.map((software) => ({ node: "n1", alive: true, software })) });

  it("tell an old server, and nodes of different versions", () => {
    expect(notes("2.11.0", "0.1.0", "0.1.0")).to.deep.equal([]);
    expect(notes("2.9.10")).to.deep.equal(["nats-server 2.9.10 is older than 2.10.27"]);
    expect(notes("2.10.27", "0.2.0", "0.1.0")).to.deep.equal([
      "the nodes run different versions: 0.1.0, 0.2.0",
    ]);
  });
});

describe("the rate of a node", () => {
  const beat = (ms: number, signed?: number): Heartbeat =>
    Object.assign(new Heartbeat(), { time: new Date(ms).toISOString(), signed });

  it("is by its own clock, and absent where it does not count or beat twice", () => {
    expect(sharesPerSecond(beat(0, 10), beat(2000, 110))).to.equal(50);
    expect(sharesPerSecond(beat(0, 10), beat(0, 10))).to.equal(undefined);
    expect(sharesPerSecond(beat(0), beat(2000))).to.equal(undefined);
  });
});
