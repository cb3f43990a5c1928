import { expect } from "chai";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../../src/pkcs11-bridge/config.js";

describe("the daemon's configuration", () => {
  let directory: string;
  let path: string;
  const good = 'version = 1\nclient = "client.toml"\nsocket = "/run/thsm/p.sock"\n';

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "thsm-p11-"));
    path = join(directory, "daemon.toml");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("needs no more than a client and a socket", async () => {
    writeFileSync(path, good);
    expect(await readConfig(path)).to.include({
      client: "client.toml",
      socket: "/run/thsm/p.sock",
      socketMode: "0600",
      logLevel: "info",
      maxConnections: 512,
      maxConnectionsPerApplication: 128,
      maxConnectionsPerUser: 256,
      maxCallsPerApplication: 64,
      maxCallsPerUser: 128,
    });
  });

  for (const [name, text] of Object.entries({
    "a missing client": 'socket = "/s"\n',
    "a relative socket": 'client = "c"\nsocket = "s"\n',
    "a mode that is a number": `${good}socketMode = 600\n`,
    "a mode that is not octal": `${good}socketMode = "0699"\n`,
    "an unknown level": `${good}logLevel = "loud"\n`,
    "no connections": `${good}maxConnections = 0\n`,
    "no connection for an application": `${good}maxConnectionsPerApplication = 0\n`,
    "no connection for a user": `${good}maxConnectionsPerUser = 0\n`,
    "no calls of a user": `${good}maxCallsPerUser = 0\n`,
    "no calls": `${good}maxCallsPerApplication = 0\n`,
    "a typo": `${good}sockett = "/s"\n`,
    "no TOML": "client: c\n",
  })) {
    it(`refuses ${name}, and names the file`, async () => {
      writeFileSync(path, text);
      const error = await readConfig(path).catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "ERR_INVALID_CONFIG");
      expect(error).to.have.property("message").that.contains(path);
    });
  }
});
