/**
 * @module docs/audit.md: its table of findings is made from the code's own, and the way to verify a history
 * without our code is carried out on a real export. `THSM_UPDATE_EXAMPLES=1` writes the table anew.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { stringify } from "smol-toml";
import { adviceFor } from "../../../src/client/audit/advice.js";
import { severities } from "../../../src/client/audit/findings.js";
import { writeHistory } from "../../../src/client/audit/export.js";
import { run } from "../../support/run.js";
import { memoryHistory } from "./audited.js";
import { HistoryBuilder } from "./history.js";

const file = fileURLToPath(new URL("../../../../docs/audit.md", import.meta.url));
const [start, end] = [/<!-- findings.*?-->\n/, "\n<!-- end of findings -->"] as const;

function tables(): string {
  const of = (severity: string): string[] =>
    Object.entries(adviceFor)
      .filter(([code]) =>
        Object.entries(severities).some((one) => one.join() === [code, severity].join()),
      )
      .map(([code, { meaning, advice }]) => `- \`${code}\`: ${meaning} _${advice}_`);
  return [`Findings:\n`, ...of("finding"), `\nNotes:\n`, ...of("note")].join("\n");
}

describe("docs/audit.md", () => {
  it("has every code with its meaning and what to do", () => {
    const text = readFileSync(file, "utf8");
    const from = (start.exec(text)?.index ?? 0) + (start.exec(text)?.[0].length ?? 0);
    const to = text.indexOf(end);
    if (process.env["THSM_UPDATE_EXAMPLES"] === "1") {
      writeFileSync(file, `${text.slice(0, from)}\n${tables()}\n${text.slice(to)}`);
    } else expect(text.slice(from, to).trim()).to.equal(tables());
  });

  describe("without our code", () => {
    const blocks = readFileSync(file, "utf8")
      .split("\n## Without our code\n")[1]
      ?.split("\n## ")[0]
      ?.matchAll(/```sh\n(.*?)```/gs);
    const script = `set -euo pipefail\n${[...(blocks ?? [])].map(([, block = ""]) => block).join("\n")}`;
    let directory: string;

    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), "thsm-by-hand-"));
    });
    afterEach(() => rmSync(directory, { recursive: true, force: true }));

    async function verify(spoil: (history: HistoryBuilder) => void) {
      const history = new HistoryBuilder({ parties: 5, threshold: 3 });
      for (const node of history.nodes) history.nodeStarted(node);
      const session = history.openSession();
      history.makeKey(session);
      history.signed(session, { parties: [1, 3, 4] });
      history.closeSession(session);
      spoil(history);
      await writeHistory(memoryHistory(history.streams), directory);
      const nodes = history.cluster.nodes.map(({ name, identity, login }) => {
        return { name, identity: identity.text, login };
      });
      writeFileSync(join(directory, "cluster.toml"), stringify({ version: 1, node: nodes }));
      return await run("bash", ["-c", `cd ${directory}\n${script}`]);
    }

    it("an honest history is verified with common tools", async () => {
      const { code, text } = await verify(() => {});
      expect(text).to.match(/Signature Verified Successfully\n[^]*bound to its request/);
      expect(text).to.match(/the chain holds\nSignature Verified Successfully\nthe shares make/);
      expect(code).to.equal(0);
    }).timeout(60_000);

    for (const [what, spoil] of [
      ["a message", (h) => (h.streams.THSM_SHARE[0]!.payload = altered(h, "THSM_SHARE", 0))],
      ["a request", (h) => (h.streams.THSM_REQ[0]!.payload = altered(h, "THSM_REQ", 0))],
      ["the chain", (h) => (h.streams.THSM_AUDIT[0]!.payload = altered(h, "THSM_AUDIT", 0))],
      ["a result", (h) => (h.streams.THSM_REQ[1]!.payload = altered(h, "THSM_REQ", 1))],
    ] as readonly [string, (history: HistoryBuilder) => void][]) {
      it(`${what} that was changed is not`, async () => {
        const { code } = await verify(spoil);
        expect(code).to.not.equal(0);
      }).timeout(60_000);
    }
  });
});

/** A payload that is JSON still: one digit of its time or input is another. */
function altered(
  { streams }: HistoryBuilder,
  stream: "THSM_REQ" | "THSM_SHARE" | "THSM_AUDIT",
  index: number,
): Buffer {
  const text = Buffer.from(streams[stream][index]?.payload ?? []).toString("utf8");
  const changed = text.includes('"inputs":["')
    ? text.replace(
        /("inputs":\[")(.)/,
        (_all, before: string, digit: string) => before + (digit === "0" ? "1" : "0"),
      )
    : text.replace(/(\d)Z"/, (_all, digit: string) => `${(Number(digit) + 1) % 10}Z"`);
  return Buffer.from(changed, "utf8");
}
