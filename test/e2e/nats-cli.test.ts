/**
 * @module The `nats` command line as auditor, operator and archive reader: what docs/audit.md lists works,
 * everything that writes is refused. Registers where the program is; `bin/setup --with-nats-cli` builds it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { findProgram } from "../../src/cli/programs.js";
import { run, type Outcome } from "../support/run.js";
import { TestCluster } from "./cluster.js";

const nats = findProgram("nats");
const docs = (file: string): string =>
  readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");

/** "$ nats …" lines of the section; a word in quotes is one argument. */
const documented = (docs("docs/audit.md").split("\n## With the nats command line\n")[1] ?? "")
  .split("\n```\n")[1]
  ?.matchAll(/^\$ nats (.*)$/gm);
const commands = [...(documented ?? [])].map(([, line = ""]) =>
  (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", "")),
);

/** What would change something, or take messages from others. */
const writing = [
  ["pub", "thsm.v1.req.c1.s.r", "hello"],
  ["pub", "thsm.v1.share.n1.c1.s.r", "hello"],
  ["stream", "purge", "THSM_REQ", "-f"],
  ["stream", "rm", "THSM_REQ", "-f"],
  ["stream", "rmm", "THSM_REQ", "1", "-f"],
  ["stream", "edit", "THSM_REQ", "--max-msgs", "5", "-f"],
  ["stream", "add", "OTHER", "--subjects", "other", "--defaults"],
  ["consumer", "add", "THSM_REQ", "mine", "--pull", "--defaults"],
  ["consumer", "edit", "THSM_REQ", "node-n1", "--max-pending", "1", "-f"],
  ["consumer", "rm", "THSM_REQ", "node-n1", "-f"],
  ["consumer", "next", "THSM_REQ", "node-n1"],
];
const mirror = /```json\n(\{.*?\})\n```/s.exec(docs("nats/README.md"))?.[1] ?? "";

if (nats !== undefined) {
  describe("the nats command line", () => {
    let cluster: TestCluster;

    before(async function () {
      this.timeout(300_000);
      cluster = await TestCluster.start({ parties: 3, threshold: 2 });
      const key = await cluster.makeKey("demo", 1024);
      writeFileSync(cluster.path("file"), "hello");
      const out = cluster.path("file.sig");
      const signed = await cluster.thsm(
        "sign",
        "--key",
        key.keyId,
        "-o",
        out,
        cluster.path("file"),
      );
      expect(signed.code, signed.text).to.equal(0);
    });

    after(async function () {
      this.timeout(60_000);
      await cluster.close();
    });

    const as = (folder: string, words: readonly string[], file = "nats-context.json") => {
      const context = join(cluster.dir, folder, file);
      const { NATS_URL: _url, NATS_NKEY: _nkey, ...rest } = cluster.env;
      // Its settings and histories are not the user's.
      const env = { ...rest, HOME: cluster.root, NATS_CONTEXT: context };
      return { env, words: ["--timeout", "2s", ...words], program: nats };
    };
    const call = ({ program, words, env }: ReturnType<typeof as>): Promise<Outcome> =>
      run(program, words, { env, timeoutMs: 60_000 });

    it("has documented commands", () => {
      expect(commands.length).to.be.greaterThan(8);
    });

    it("reads all that is documented, as auditor", async () => {
      for (const words of commands) {
        const { code, text } = await call(as("auditor", words));
        expect(code, `nats ${words.join(" ")}: ${text}`).to.equal(0);
        expect(text).to.not.include("ermissions");
        expect(text.length).to.be.greaterThan(20);
      }
      const { text } = await call(as("auditor", ["stream", "get", "THSM_REQ", "1"]));
      expect(text)
        .to.match(/Thsm-Sig: ed25519 [0-9a-f]{16} /)
        .and.include('{"version":1,"kind":"test"');
    }).timeout(240_000);

    it("reads the state, as operator, but no messages", async () => {
      for (const words of commands) {
        const isMessage = words[1] === "get" || words[0] === "sub";
        const { code, text } = await call(as("operator", words));
        expect(code === 0, `nats ${words.join(" ")}: ${text}`).to.equal(!isMessage);
        if (isMessage) expect(text).to.match(/permissions violation/i);
      }
      const beats = await call(as("operator", ["sub", "thsm.v1.beat.*", "--count", "1"]));
      expect(beats.text).to.include("activeKeys");
    }).timeout(240_000);

    it("writes nothing, as auditor or operator", async () => {
      const state = ["stream", "state", "THSM_REQ", "--json"];
      const before = (await call(as("auditor", state))).stdout.toString("utf8");
      for (const folder of ["auditor", "operator"]) {
        for (const words of writing) {
          const { code, text } = await call(as(folder, words));
          expect(code, `${folder}: nats ${words.join(" ")}: ${text}`).to.not.equal(0);
          expect(text).to.match(/permissions violation|timeout|deadline exceeded/i);
        }
      }
      expect((await call(as("auditor", state))).stdout.toString("utf8")).to.equal(before);
    }).timeout(300_000);

    it("pages through a mirror in account AUDIT, and not through the stream", async () => {
      writeFileSync(cluster.path("mirror.json"), mirror);
      const archive = "nats-archive-context.json";
      const add = ["stream", "add", "THSM_REQ", "--config", cluster.path("mirror.json")];
      const added = await call(as("auditor", add, archive));
      expect(added.code, added.text).to.equal(0);
      const view = async (file: string): Promise<string> => {
        const { program, words, env } = as("auditor", ["stream", "view", "THSM_REQ", "1"], file);
        // It wants a terminal, and asks after the first page.
        const line = `timeout 20 ${[program, ...words].join(" ")}`;
        return (await run("script", ["-qec", line, "/dev/null"], { env, timeoutMs: 60_000 })).text;
      };
      expect(await view(archive)).to.include("Thsm-Sig: ed25519");
      expect(await view("nats-context.json")).to.match(/permissions violation/i);
    }).timeout(120_000);
  });
}
