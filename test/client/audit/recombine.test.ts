/** @module Signings judged together: what is wrong with one of them changes the verdict on no other. */
import { expect } from "chai";
import { judge, judgeAll } from "../../../src/client/audit/recombine.js";
import type { SigningJob } from "../../../src/client/audit/signing-job.js";
import { testKey } from "../../support/keys.js";
import { HistoryBuilder } from "./history.js";

describe("signings that are judged together", () => {
  const history = new HistoryBuilder();
  const session = history.openSession();
  const { group } = testKey(1024, 3, 2);

  function job(inputs: readonly string[], parties: readonly number[]): SigningJob {
    const { body } = history.request(session, {
      inputs: inputs.map((text) => history.digest(text)),
      parties: [...parties],
    });
    return {
      group,
      terms: body,
      answers: parties.map((party) => ({ party, shares: history.shares(party, body) })),
      result: { quorum: parties, signatures: history.signatures(body, parties) },
      recombine: true,
    };
  }

  const several = job(["b", "c", "d"], [2, 3]);
  const right = [job(["a"], [1, 2]), several, job(["e"], [3, 1])];
  const [, ...others] = several.answers;
  const wrong = {
    "one share of the wrong input": {
      ...several,
      answers: [{ party: 2, shares: several.answers[0]?.shares.toReversed() ?? [] }, ...others],
    },
    "a share that is none": {
      ...several,
      answers: [{ party: 2, shares: ["AA", "?", ""] }, ...others],
    },
    "another recorded signature": {
      ...several,
      result: { quorum: [2, 3], signatures: several.result?.signatures.toReversed() ?? [] },
    },
    "too few signatures": { ...several, result: { quorum: [2, 3], signatures: [] } },
    "a block that is too large to sign": {
      ...several,
      terms: { ...several.terms, encoding: "raw", inputs: Array(3).fill("ff".repeat(128)) },
    },
    "nothing to sign": { ...several, terms: { ...several.terms, hash: "md5" } },
  } as unknown as Record<string, SigningJob>;

  it("are all right when they are", () => {
    const verdicts = judgeAll(right);
    expect(verdicts.map(({ recombined }) => recombined)).to.deep.equal([1, 3, 1]);
    for (const verdict of verdicts) {
      const { valid, recombined, ...wrongs } = verdict;
      expect(valid).to.equal(recombined);
      expect(Object.values(wrongs).flat()).to.deep.equal([]);
    }
  });

  for (const [name, spoilt] of Object.entries(wrong)) {
    it(`are judged as each by itself, with ${name} among them`, () => {
      const jobs = [...right.slice(0, 2), spoilt, ...right.slice(2)];
      const verdicts = judgeAll(jobs);
      expect(verdicts).to.deep.equal(jobs.map(judge));
      expect(verdicts[2]).to.not.deep.equal(verdicts[1]);
      expect(verdicts.map(({ valid }) => valid)).to.include.members([1, 3]);
    });
  }

  it("need not be of one key", () => {
    const other = testKey(1024, 5, 3).group;
    const jobs = [...right, { ...several, group: other }, ...right];
    expect(judgeAll(jobs)).to.deep.equal(jobs.map(judge));
  });
});
