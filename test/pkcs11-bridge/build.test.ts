/** @module What the built module is: its exports, its hardening, and that other compilers take it without a warning. */
import { expect } from "chai";
import { execFile } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { buildModule, moduleSources, modulePath } from "./harness.js";

const run = promisify(execFile);
const exported = ["C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"];

function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

async function output(program: string, ...parameters: string[]): Promise<string> {
  return (await run(program, parameters, { maxBuffer: 1 << 26 })).stdout;
}

async function exportsOf(path: string): Promise<string[]> {
  const lines = (await output("nm", "-D", "--defined-only", path)).trim().split("\n");
  return lines.map((line) => line.split(" ").at(-1) ?? "").toSorted();
}

describe("the PKCS#11 module as it is built", function () {
  this.timeout(240_000);

  before(buildModule);

  it("exports the functions that hand out the list, and nothing else", async () => {
    expect(await exportsOf(modulePath)).to.deep.equal(exported);
  });

  it("needs nothing but the C library", async () => {
    const dynamic = await output("readelf", "-dW", modulePath);
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
    expect(needed).to.deep.equal(["libc.so.6"]);
  });

  it("is bound at once, read-only after that, never executable on the stack, and stays loaded", async () => {
    const dynamic = await output("readelf", "-dW", modulePath);
    expect(dynamic).to.match(/FLAGS\).*BIND_NOW/);
    expect(dynamic).to.match(/FLAGS_1\).*NOW/);
    expect(dynamic).to.match(/FLAGS_1\).*NODELETE/);
    expect(dynamic).not.to.contain("TEXTREL");
    const segments = await output("readelf", "-lW", modulePath);
    expect(segments).to.contain("GNU_RELRO");
    expect(segments).to.match(/GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s/);
    expect(segments).not.to.match(/ RWE /);
  });

  it("is compiled with the stack protected and the string functions checked", async () => {
    const symbols = await output("nm", "-D", "--undefined-only", modulePath);
    expect(symbols).to.contain("__stack_chk_fail");
    expect(symbols).to.match(/__\w+_chk\b(?<!__stack_chk)/);
    const producers = (
      await output("readelf", "-W", "--debug-dump=info", "--dwarf-depth=1", modulePath)
    )
      .split("\n")
      .filter((line) => line.includes("DW_AT_producer"));
    expect(producers).not.to.have.length(0);
    for (const producer of producers) {
      expect(producer)
        .to.contain("-fstack-protector-strong")
        .and.contain("-fstack-clash-protection");
      expect(producer).to.contain("-fvisibility=hidden");
    }
  });

  // The compilers that are there: bin/setup --with-cross installs them all.
  for (const { name, compiler, parameters, directory, machine, library } of [
    {
      name: "64-bit ARM",
      compiler: "aarch64-linux-gnu-gcc",
      parameters: ["aarch64"],
      directory: "aarch64",
      machine: "AArch64",
      library: "libc.so.6",
    },
    {
      name: "musl",
      compiler: "musl-gcc",
      parameters: ["musl"],
      directory: "musl",
      machine: "X86-64",
      library: "libc.so",
    },
    {
      name: "clang",
      compiler: "clang",
      parameters: ["CC=clang", "all"],
      directory: "",
      machine: "X86-64",
      library: "libc.so.6",
    },
  ]) {
    if (!isInstalled(compiler) || (process.arch !== "x64" && compiler !== "clang")) continue;
    it(`compiles without a warning for ${name}`, async () => {
      const build = mkdtempSync(join(tmpdir(), "thsm-build-"));
      try {
        const make = await run("make", [
          "-s",
          "-C",
          moduleSources,
          `BUILD=${build}`,
          ...parameters,
        ]);
        expect(make.stderr).to.equal("");
        const path = join(build, directory, "libthsm-pkcs11.so");
        expect(await exportsOf(path)).to.deep.equal(exported);
        expect(await output("readelf", "-h", path)).to.contain(machine);
        expect(await output("readelf", "-dW", path)).to.contain(`[${library}]`);
      } finally {
        rmSync(build, { recursive: true });
      }
    });
  }
});
