import { expect } from "chai";
import { warningsOf } from "../../src/client/status.js";

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
    ["an old server", { server: "2.9.10" }, ["nats-server 2.9.10 is older than 2.10.27"]],
    ["none for a newer one", { server: "2.11.0" }, []],
  ];
  for (const [what, found, expected] of cases) {
    it(what, () => expect(warnings(found)).to.deep.equal(expected));
  }
});
