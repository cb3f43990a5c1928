import { expect } from "chai";
import { whomToAsk, type Choice } from "../../src/client/whom-to-ask.js";

const namesIn = (text: string): string[] => text.match(/\w+/g) ?? [];

describe("whom to ask next", () => {
  const isCulprit = (node: string): boolean => node.startsWith("bad");
  const choose = (open: string, choice: Partial<Choice>): string[] =>
    whomToAsk({ wanted: 1, missing: 1, hopeful: 0, isCulprit, ...choice, open: namesIn(open) });

  const cases: [what: string, open: string, choice: Partial<Choice>, expected: string][] = [
    ["the best come first", "a b c d", { wanted: 3, missing: 3 }, "a b c"],
    ["a culprit is passed over", "bad a b c", { wanted: 3, missing: 3 }, "a b c"],
    ["a culprit fills up a quorum", "a b bad", { wanted: 3, missing: 3 }, "a b bad"],
    ["the best of two culprits does", "a b bad1 bad2", { wanted: 3, missing: 3 }, "a b bad1"],
    ["a culprit is not asked for one who is late", "bad", { missing: 1, hopeful: 1 }, ""],
    ["nor for three who are late", "bad", { wanted: 3, missing: 3, hopeful: 3 }, ""],
    ["nor when another one can be asked", "bad a", { missing: 1, hopeful: 0 }, "a"],
    ["one who is late has another asked", "a bad", { missing: 1, hopeful: 1 }, "a"],
    ["a culprit is asked for one who can no more", "bad", { missing: 3, hopeful: 2 }, "bad"],
    [
      "no more of them than are missing",
      "bad1 bad2",
      { wanted: 2, missing: 3, hopeful: 2 },
      "bad1",
    ],
    ["nobody is left", "", { missing: 3 }, ""],
  ];
  for (const [what, open, choice, expected] of cases) {
    it(what, () => expect(choose(open, choice)).to.deep.equal(namesIn(expected)));
  }
});
