/** @module The daemon under systemd: a socket that it did not make, and units that load. */
import { expect } from "chai";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inheritedSocket } from "../../src/pkcs11-bridge/service-manager.js";
import { run } from "../support/run.js";
import { RawModule } from "./raw-module.js";

const fakeDaemon = fileURLToPath(new URL("./fake-daemon.js", import.meta.url));
const units = fileURLToPath(new URL("../../../packaging/systemd", import.meta.url));

describe("the daemon under systemd", function () {
  this.timeout(60_000);
  let directory: string;
  const children: ChildProcess[] = [];

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "thsm-sd-"));
  });
  after(() => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });

  /** Listens on `path`, and starts the daemon at the first connection. */
  async function activate(path: string, configured: string): Promise<ChildProcess> {
    const options = JSON.stringify({ socket: configured, tokens: ["dns"], isInherited: true });
    const child = spawn("systemd-socket-activate", [
      `--listen=${path}`,
      process.execPath,
      fakeDaemon,
      options,
    ]);
    children.push(child);
    // It says so on stderr once it listens.
    await once(child.stderr, "data");
    return child;
  }

  it("takes a socket only if it was meant for this process, and says so to nobody else", () => {
    const environment = { LISTEN_PID: String(process.pid), LISTEN_FDS: "1", LISTEN_FDNAMES: "a" };
    expect(inheritedSocket(environment)).to.equal(3);
    expect(environment).to.deep.equal({});
    expect(inheritedSocket({ LISTEN_PID: "1", LISTEN_FDS: "1" })).to.equal(undefined);
    expect(inheritedSocket({})).to.equal(undefined);
    const two = { LISTEN_PID: String(process.pid), LISTEN_FDS: "2" };
    expect(() => inheritedSocket(two)).to.throw("one ListenStream=");
  });

  it("serves who connected before it was started, and leaves the socket to systemd", async () => {
    const path = join(directory, "good");
    const child = await activate(path, path);
    const module = await RawModule.open(path);
    module.socket.destroy();
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    expect(await ended).to.deep.equal([0, null]);
    // Who connects while the daemon restarts must find it.
    expect(existsSync(path)).to.equal(true);
  });

  it("refuses a socket in another place than modules are told", async () => {
    const path = join(directory, "other");
    const child = await activate(path, join(directory, "configured"));
    const said: Buffer[] = [];
    child.stderr?.on("data", (chunk: Buffer) => said.push(chunk));
    const module = await RawModule.dial(path);
    const [code] = (await once(child, "close")) as [number];
    module.socket.destroy();
    expect(code).not.to.equal(0);
    expect(Buffer.concat(said).toString("utf8")).to.contain(`listens on ${path}, `);
  });

  it("has units without a mistake, that need no privilege", async () => {
    const names = readdirSync(units);
    for (const name of names) copyFileSync(join(units, name), join(directory, name));
    // The programs of the units need to exist.
    const replace = `s|/usr/bin/thsm|${process.execPath} thsm|`;
    await run("sed", ["-i", replace, ...names.map((name) => join(directory, name))]);
    const instances = names.map((name) => join(directory, name.replace("@.", "@node.")));
    const [template = ""] = names.filter((name) => name.includes("@"));
    copyFileSync(join(directory, template), join(directory, template.replace("@.", "@node.")));
    const verified = await run("systemd-analyze", ["verify", "--man=no", ...instances]);
    expect(verified.text).not.to.match(new RegExp(`${directory}|thsm`));
    expect(verified.code).to.equal(0);
    for (const unit of instances.filter((name) => name.endsWith(".service"))) {
      const parameters = ["security", "--offline=true", "--threshold=20", unit];
      const { code, text } = await run("systemd-analyze", parameters);
      expect(code, text).to.equal(0);
    }
  });
});
