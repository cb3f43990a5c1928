/** @module docs/threat-model.md says which attacks were carried out: each of its rows names a test that exists. */
import { expect } from "chai";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { aims, harmful, harmless } from "./lies.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const page = readFileSync(join(root, "docs/threat-model.md"), "utf8");
const [, section = ""] = page.split("## Attacks that were carried out\n");
const rows =
  section
    .split("\n## ")[0]
    ?.match(/^\| .*\|$/gm)
    ?.slice(2) ?? [];

/** A table of tests: its titles are put together when it runs. */
const composed = Object.keys(aims).flatMap((aim) => [
  ...Object.keys(harmless).map((lie) => `${aim}: each ${lie}, and signing goes on`),
  ...Object.keys(harmful).map((lie) => `${aim}: each ${lie}, and nothing wrong comes of it`),
]);

describe("the table of attacks", () => {
  it("has rows", () => {
    expect(rows.length).to.be.above(20);
  });

  for (const row of rows) {
    const [, attack = "", , , where = ""] = row.split("|").map((cell) => cell.trim());
    it(`${attack}: its test exists`, () => {
      const [, file = "", title = ""] = /^`([^`]+)`: (.+)$/.exec(where) ?? [];
      const source = readFileSync(join(root, "test/e2e", file), "utf8");
      expect(composed.includes(title) || source.includes(title), title).to.equal(true);
    });
  }
});
