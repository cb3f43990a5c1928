/**
 * @module Short runs of the fuzzers (fuzz/*.c): the recorded inputs and changed copies of them with gcc's sanitizers
 * everywhere, libFuzzer where clang and its runtime are; and every allocation failing once.
 */
import { expect } from "chai";
import { execFile, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const isSlow = process.env["SLOW"] === "1";
const root = fileURLToPath(new URL("../../../", import.meta.url));
const sources = join(root, "test/pkcs11-bridge/fuzz");
const build = join(root, "dist/test-fuzz");
const targets = ["replies", "calls"] as const;

function make(target: string): Promise<unknown> {
  return run("make", ["-s", "-j2", "-C", sources, `BUILD=${build}`, target]);
}

/** clang without the package of its runtime finds no libFuzzer. */
function hasLibFuzzer(): boolean {
  try {
    const name = `libclang_rt.fuzzer-${process.arch === "arm64" ? "aarch64" : "x86_64"}.a`;
    const found = execFileSync("clang", [`-print-file-name=lib/linux/${name}`], {
      encoding: "utf8",
    });
    const resources = execFileSync("clang", ["-print-resource-dir"], { encoding: "utf8" }).trim();
    return existsSync(found.trim()) || existsSync(join(resources, "lib/linux", name));
  } catch {
    return false;
  }
}

describe("the PKCS#11 module, fuzzed", function () {
  this.timeout(isSlow ? 900_000 : 240_000);

  describe("with recorded inputs and changed copies of them", () => {
    before(() => make("replay"));

    for (const target of targets) {
      it(`survives ${target} of any kind`, async () => {
        const corpus = join(sources, "corpus", target);
        const files = readdirSync(corpus).map((name) => join(corpus, name));
        const mutations = isSlow ? 100_000 : 1000;
        const program = join(build, `replay-${target}`);
        const { stdout } = await run(program, [String(mutations), ...files]);
        expect(stdout).to.equal(`${files.length * (mutations + 1)} executions\n`);
      });
    }
  });

  it("says CKR_HOST_MEMORY whichever allocation fails, and then goes on", async () => {
    await make("no-memory");
    const { stdout } = await run(join(build, "no-memory"));
    expect(stdout).to.match(/^\d{3,} allocations, each failing$/m);
  });

  if (!hasLibFuzzer()) return;
  describe("with libFuzzer", () => {
    let directory: string;
    before(async () => {
      await make("fuzz");
      directory = mkdtempSync(join(tmpdir(), "thsm-fuzz-"));
    });
    after(() => rmSync(directory, { recursive: true }));

    for (const target of targets) {
      it(`survives ${target} of any kind`, async () => {
        const corpus = join(directory, target);
        cpSync(join(sources, "corpus", target), corpus, { recursive: true });
        const limit = isSlow ? ["-max_total_time=300"] : ["-runs=5000"];
        const options = ["-seed=1", "-timeout=20", `-artifact_prefix=${directory}/`];
        const { stderr } = await run(join(build, `fuzz-${target}`), [...limit, ...options, corpus]);
        expect(stderr).to.match(/Done \d+ runs/);
      });
    }
  });
});
