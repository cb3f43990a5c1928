/** @module Every file with a secret, of nodes and clients: no program starts while others can read or replace it. */
import { expect } from "chai";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createWholeCluster } from "../../src/cli/cluster-files.js";
import { connect } from "../../src/client/index.js";
import { describeError } from "../../src/errors.js";
import { run } from "../support/run.js";

const nodeProgram = fileURLToPath(new URL("../../src/node/main.js", import.meta.url));
const nobody = 65534;

const spoilt: Readonly<Record<string, (file: string) => string>> = {
  "its group can read": (file) => {
    chmodSync(file, 0o640);
    return `${file} has mode 640: others may read this secret; run: chmod 600 ${file}`;
  },
  "everybody can read": (file) => {
    chmodSync(file, 0o604);
    return `${file} has mode 604: others may read this secret; run: chmod 600 ${file}`;
  },
  "everybody can replace": (file) => {
    chmodSync(dirname(file), 0o777);
    return `${dirname(file)} can be written by everybody; run: chmod o-w ${dirname(file)}`;
  },
  // Only root can give a file away.
  ...(process.geteuid?.() === 0
    ? {
        "belongs to somebody else": (file: string) => {
          chownSync(file, nobody, nobody);
          return `${file} belongs to uid ${nobody}, not to 0: run this as that user, or: chown 0 ${file}`;
        },
      }
    : {}),
};

describe("a secret file that", function () {
  this.timeout(120_000);
  let dir: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "thsm-secrets-"));
    await createWholeCluster({
      dir,
      folderOf: ({ name }) => name,
      name: "c",
      parties: 2,
      threshold: 2,
      token: "dns",
      hosts: ["127.0.0.1"],
      port: 4222,
      natsDir: join(dir, "nats"),
      natsStoreDir: join(dir, "store"),
      dataDir: "data",
      socket: join(dir, "socket"),
      pinSource: "pin",
      tls: true,
    });
    const write = (file: string, text: string): void =>
      writeFileSync(join(dir, file), text, { mode: 0o600 });
    mkdirSync(join(dir, "n1/data/keys"), { recursive: true, mode: 0o700 });
    write("n1/data/secret", "0".repeat(32));
    write(`n1/data/keys/${"0".repeat(32)}.share`, "");
    write("c1/pin", "12345678");
    write("c1/identity.json.attempts", '{"version":1,"wrong":0}');
  });
  after(() => rmSync(dir, { recursive: true }));

  const programs: Readonly<Record<string, { files: string[]; start: () => Promise<string> }>> = {
    node: {
      files: ["identity.json", "login.nk", "key.pem", "data/secret"]
        .concat(`data/keys/${"0".repeat(32)}.share`)
        .map((file) => `n1/${file}`),
      start: async () => {
        const config = join(dir, "n1/node.toml");
        const check = [nodeProgram, "--config", config, "--check"];
        const { code, text } = await run(process.execPath, check);
        return code === 0 ? "started" : text;
      },
    },
    client: {
      files: ["identity.json", "login.nk", "key.pem", "identity.json.attempts", "pin"].map(
        (file) => `c1/${file}`,
      ),
      start: async () => {
        try {
          const client = await connect({ configFile: join(dir, "c1/client.toml") });
          await client.close();
          return "started";
        } catch (error) {
          return describeError(error);
        }
      },
    },
  };

  for (const [program, { files, start }] of Object.entries(programs)) {
    for (const [what, spoil] of Object.entries(spoilt)) {
      it(`${what} keeps a ${program} from starting, and the error names it and what to do`, async () => {
        expect(await start()).to.equal("started");
        for (const file of files) {
          const path = join(dir, file);
          const told = spoil(path);
          const outcome = await start();
          chmodSync(path, 0o600);
          chmodSync(dirname(path), 0o700);
          chownSync(path, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
          expect(outcome, file).to.contain(told).and.to.contain("ERR_UNTRUSTED_FILE");
        }
      });
    }
  }
});
