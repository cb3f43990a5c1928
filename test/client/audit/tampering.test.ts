import { expect } from "chai";
import fc from "fast-check";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import { audited } from "./audited.js";
import { honestHistory, type Stored, type Streams } from "./history.js";

const { streams: original, cluster } = honestHistory();

describe("tampering with a stored history", () => {
  it("EXPLORE", async () => {
    for (const stream of keptStreams) {
      for (const index of original[stream].keys()) {
        const streams = structuredClone(original);
        streams[stream].splice(index, 1);
        for (const [at, one] of streams[stream].entries()) one.seq = at + 1;
        const { codes, findings } = await audited({ streams, cluster });
        if (codes.length === 0)
          console.log(
            stream,
            index,
            Buffer.from(original[stream][index]!.payload).toString().slice(0, 90),
            findings.map((f) => f.code).join(),
          );
      }
    }
  }).timeout(100000);
});
void fc;
const x: [KeptStream, Stored, Streams][] = [];
void x;
