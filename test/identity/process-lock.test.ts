import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { HsmError } from "../../src/errors.js";
import { lockDirectory } from "../../src/identity/process-lock.js";
import { rejection } from "../node/eventually.js";

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

  it("is not held by a zombie: dead, but not yet looked at by its parent", async () => {
    await lockDirectory(directory);
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    // A shell that becomes a program which never waits for the child that it inherits.
    const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"]);
    try {
      const [text] = (await once(parent.stdout, "data")) as [Buffer];
      const pid = text.toString().trim();
      let stat: string[];
      do {
        const line = await readFile(`/proc/${pid}/stat`, "utf8");
        stat = line.slice(line.lastIndexOf(")") + 2).split(" ");
        await sleep(10);
      } while (stat[0] !== "Z");
      await writeFile(join(directory, "lock.1"), `${pid} ${stat[19]} ${boot}\n`);
      await lockDirectory(directory);
      expect(await readdir(directory)).to.deep.equal(["lock.2"]);
    } finally {
      parent.kill("SIGKILL");
    }
  });
});
