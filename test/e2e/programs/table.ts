/** @module docs/compatibility.md: what the tests of programs ran, made by that run. */
import { expect } from "chai";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { it } from "mocha";

const file = fileURLToPath(new URL("../../../../docs/compatibility.md", import.meta.url));
const head = `# Programs that were run

Made by \`SLOW=1 UPDATE_DOCS=1 npx mocha dist/test/e2e/programs/programs.test.js\`: each line is a test of
\`npm test\` (\`ods-hsmutil test\`: with SLOW=1), run against five nodes of which three sign. How to set the programs up is in [guides](guides).

`;

interface Row {
  readonly program: string;
  readonly what: string;
  result?: { readonly version: string; readonly text: string };
}

export class CompatibilityTable {
  readonly #rows: Row[] = [];

  /**
   * A test that is a row of the table. It resolves to what happened, when that is not that it works.
   */
  row(
    program: string,
    version: () => Promise<string>,
    what: string,
    test: () => Promise<string | void>,
  ): void {
    const row: Row = { program, what };
    this.#rows.push(row);
    it(`${program}: ${what}`, async () => {
      const text = (await test()) ?? "works";
      row.result = { version: await version(), text };
    });
  }

  /** Writes the table with UPDATE_DOCS=1, else fails when a line of this run is missing there. */
  check(): void {
    const rows = this.#rows.filter(({ result }) => result !== undefined);
    if (process.env["UPDATE_DOCS"] === "1") {
      expect(rows.length, "write the table only after a whole run").to.equal(this.#rows.length);
      writeFileSync(file, head + render(rows));
    }
    const written = readFileSync(file, "utf8")
      .split("\n")
      .map((line) => line.split("|").map((cell) => cell.trim()));
    for (const { program, what, result } of rows) {
      const found = written.some(
        // Versions may differ from machine to machine.
        ([, a, , b, c]) => a === program && b === what && c === result?.text,
      );
      expect(found, `docs/compatibility.md lacks: ${program}, ${what}, ${result?.text}`).to.equal(
        true,
      );
    }
  }
}

/** As prettier has it. */
function render(rows: readonly Row[]): string {
  const cells = [
    ["program", "version", "what was run", "result"],
    ...rows.map(({ program, what, result }) => [
      program,
      result?.version ?? "",
      what,
      result?.text ?? "",
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...cells.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`;
  const [top = [], ...rest] = cells.map(line);
  const rule = line(widths.map((width) => "-".repeat(width)));
  return `${String(top)}${rule}${rest.join("")}`;
}
