import { mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { HsmError } from "../../src/errors.js";
import { lockDirectory } from "../../src/node/lock.js";
import { rejection } from "./eventually.js";

describe("the lock of a data directory", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "thsm-lock-"))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("is held by one of many who want it at once", async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 50 }, () => lockDirectory(directory)),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(1);
    expect(await readdir(directory)).to.deep.equal(["lock.1"]);
    const { code, message } = await rejection(lockDirectory(directory), HsmError);
    expect(code).to.equal("ERR_CONFLICT");
    expect(message).to.contain(String(process.pid));
  });

  it("passes on from one who is dead, to one of many", async () => {
    await lockDirectory(directory);
    const holder = await readFile(join(directory, "lock.1"), "utf8");
    const [pid = "", started = "", boot = ""] = holder.trim().split(" ");
    for (const dead of [
      "",
      `4194305 ${started} ${boot}\n`,
      // The same number, but an earlier process, or an earlier boot.
      `${pid} ${Number(started) - 1} ${boot}\n`,
      `${pid} ${started} 00000000-0000-0000-0000-000000000000\n`,
    ]) {
      const [name = ""] = await readdir(directory);
      await writeFile(join(directory, name), dead);
      const results = await Promise.allSettled(
        Array.from({ length: 50 }, () => lockDirectory(directory)),
      );
      expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(1);
    }
    expect(await readdir(directory)).to.deep.equal(["lock.5"]);
  });
});
