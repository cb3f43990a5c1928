import { expect } from "chai";
import { audited } from "./audited.js";
import { honestHistory } from "./history.js";

describe("an audit of an honest history", () => {
  it("finds nothing, and says what it looked at", async () => {
    const { findings, summary } = await audited(honestHistory());
    expect(findings).to.deep.equal([]);
    expect(summary).to.deep.include({ keys: 1, sessions: 1, requests: 8, results: 4, repeats: 0 });
    expect(summary.signaturesValid).to.equal(8);
    expect(summary.signaturesRecombined).to.equal(8);
    expect(summary.chainHeads.map(({ node }) => node)).to.deep.equal(["ada", "bob", "cyd"]);
    expect(summary.chainHeads[0]?.n).to.equal(9);
  });
});
