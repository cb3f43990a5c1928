import { mkdtempSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { inspect } from "node:util";
import { expect } from "chai";
import { IdentityLock } from "../../src/client/identity-lock.js";
import { readCluster } from "../../src/identity/cluster.js";
import { fromBase64url, fromHex } from "../../src/identity/encoding.js";
import { createIdentityFile, readIdentityFile } from "../../src/identity/identity-file.js";
import { IdentityKey, IdentityPublicKey } from "../../src/identity/identity-key.js";
import { eraseFile, readSecretFile, writeSecretFile } from "../../src/identity/secret-file.js";
import { failure } from "../support/errors.js";
import { failOnUnhandledRejections } from "../support/unhandled.js";

failOnUnhandledRejections();

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "thsm-identity-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));
const at = (name: string): string => join(dir, name);

describe("files with secrets", () => {
  it("are written for their owner only, and replaced in one step", async () => {
    await writeSecretFile(at("a"), "one");
    await writeSecretFile(at("a"), "two");
    expect((await readSecretFile(at("a"))).toString()).to.equal("two");
    expect(await readdir(dir)).to.deep.equal(["a"]);
  });

  it("are not read when others could read them", async () => {
    await writeSecretFile(at("a"), "secret");
    for (const mode of [0o604, 0o640, 0o620, 0o601, 0o777]) {
      await chmod(at("a"), mode);
      const error = await failure(readSecretFile(at("a")), "ERR_UNTRUSTED_FILE");
      expect(error.message).to.include("chmod 600");
    }
  });

  it("are files: no directory, no pipe that is waited for, not missing", async () => {
    execFileSync("mkfifo", ["-m", "600", at("pipe")]);
    await failure(readSecretFile(at("pipe")), "ERR_INVALID_CONFIG");
    await failure(readSecretFile(dir), "ERR_INVALID_CONFIG");
    await failure(readSecretFile(at("none")), "ERR_INVALID_CONFIG");
  });

  it("leave no copy of the secret behind when they cannot be put in place", async () => {
    await mkdir(at("a"));
    await writeFile(at("a/x"), "");
    let failed = false;
    await writeSecretFile(at("a"), "secret").catch(() => (failed = true));
    expect(failed).to.equal(true);
    expect(await readdir(dir)).to.deep.equal(["a"]);
  });

  it("can be erased, also twice", async () => {
    await writeSecretFile(at("a"), "secret");
    await eraseFile(at("a"));
    await eraseFile(at("a"));
    expect(await readdir(dir)).to.deep.equal([]);
  });
});

describe("identity files", () => {
  it("without a PIN open by themselves", async () => {
    const publicKey = await createIdentityFile(at("n"), "n1");
    const file = await readIdentityFile(at("n"));
    expect(file.openUnprotected().publicKey.text).to.equal(publicKey.text);
    const lock = await IdentityLock.of({ identityFile: at("n"), pinAttemptsMax: 10 });
    expect(lock.isOpen).to.equal(true);
  });

  it("open with their PIN, and with its ticket", async () => {
    await createIdentityFile(at("c"), "alice", "1234");
    const file = await readIdentityFile(at("c"));
    await failure(() => file.openUnprotected(), "ERR_NOT_LOGGED_IN");
    await failure(file.open("1235"), "ERR_WRONG_PIN");
    await failure(file.open(""), "ERR_WRONG_PIN");
    const { key, ticket } = await file.open("1234");
    expect(key.publicKey.text).to.equal(file.publicKey.text);
    expect(file.openWithTicket(ticket).publicKey.text).to.equal(file.publicKey.text);
    for (const wrong of [new Uint8Array(32), new Uint8Array(5), new Uint8Array()]) {
      await failure(() => file.openWithTicket(wrong), "ERR_WRONG_PIN");
    }
    const lock = await IdentityLock.of({ identityFile: at("c"), pinAttemptsMax: 10 });
    await failure(() => lock.require(), "ERR_NOT_LOGGED_IN");
    await lock.openWithTicket(ticket);
    expect(lock.isOpen).to.equal(true);
    lock.close();
    await failure(() => lock.require(), "ERR_NOT_LOGGED_IN");
  });

  it("that are damaged say so, and never blame the PIN for it", async () => {
    await createIdentityFile(at("c"), "alice", "1234");
    const good = JSON.parse(await readFile(at("c"), "utf8")) as Record<string, unknown>;
    const damaged = [
      { salt: undefined },
      { nonce: undefined },
      { nonce: "AA" },
      { nonce: null },
      { secret: "AAAA" },
      { secret: `${"A".repeat(42)}B` },
      { publicKey: "A" },
      { scryptN: undefined },
      { scryptN: 1e9 },
      { protection: "none" },
      { protection: "other" },
      { version: 2 },
      { name: "../x" },
      { extra: 1 },
      { scryptN: 1025 },
    ];
    for (const change of damaged) {
      await writeSecretFile(at("d"), JSON.stringify({ ...good, ...change }));
      const open = async (): Promise<unknown> => {
        const file = await readIdentityFile(at("d"));
        return file.pinProtected ? await file.open("1234") : file.openUnprotected();
      };
      await failure(open, "ERR_INVALID_CONFIG");
    }
    for (const text of ["", "{", "[]", "null", "\xff"]) {
      await writeSecretFile(at("d"), Buffer.from(text, "latin1"));
      await failure(readIdentityFile(at("d")), "ERR_INVALID_CONFIG");
    }
  }).timeout(20_000);

  it("show no secret however they are printed", () => {
    const seed = new Uint8Array(32).fill(0xab);
    const key = new IdentityKey(seed);
    const options = { showHidden: true, depth: 9, getters: true };
    const printed = [inspect(key, options), JSON.stringify({ key }), String(key)].join();
    expect(printed).to.not.match(/abab|q6ur|171/i);
  });
});

describe("identity keys", () => {
  it("verify their own signatures and nothing else", () => {
    const key = new IdentityKey(new Uint8Array(32).fill(1));
    const message = Buffer.from("message");
    const signature = key.sign(message);
    expect(key.publicKey.verify(message, signature)).to.equal(true);
    for (const wrong of [signature.slice(1), new Uint8Array(64), new Uint8Array()]) {
      expect(key.publicKey.verify(message, wrong)).to.equal(false);
    }
    expect(new IdentityPublicKey(new Uint8Array(32)).verify(message, signature)).to.equal(false);
  });

  it("have 32 bytes", async () => {
    await failure(() => new IdentityKey(new Uint8Array(31)), "ERR_INVALID_ARGUMENT");
    await failure(() => new IdentityPublicKey(new Uint8Array(33)), "ERR_INVALID_ARGUMENT");
  });

  it("travel in texts that are unique", async () => {
    for (const text of ["AB", "A", "AA==", "A A", "+/8"]) {
      await failure(() => fromBase64url(text, "it"), "ERR_INVALID_MESSAGE");
    }
    for (const text of ["0", "AB", "0g", " 00"]) {
      await failure(() => fromHex(text, "it"), "ERR_INVALID_MESSAGE");
    }
  });
});

/** The NKey of an identity key, as nobody should make one. */
function encodeNKey(identity: string): string {
  const bytes = Buffer.concat([Buffer.of(20 << 3), Buffer.from(identity, "base64url")]);
  const bits = [...bytes, 0, 0].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  return bits.replace(/.{5}/g, (five) => letters[Number.parseInt(five, 2)] ?? "");
}

describe("cluster.toml", () => {
  const key = (n: number): string => new IdentityKey(new Uint8Array(32).fill(n)).publicKey.text;
  const login = (n: number): string => `U${String.fromCharCode(64 + n).repeat(55)}`;
  const entry = (role: string, name: string, n: number): string =>
    `[[${role}]]\nname = "${name}"\nidentity = "${key(n)}"\nlogin = "${login(n)}"\n`;
  const head = `version = 1\nname = "c"\nservers = ["tls://a:4222"]\n`;
  const nodes = entry("node", "n1", 1) + entry("node", "n2", 2);
  const alice = entry("client", "alice", 3);
  const token = `[[token]]\nname = "zones"\nclients = ["alice"]\n`;
  const good = head + nodes + alice + token;

  it("says who is who", async () => {
    await writeFile(at("c"), good);
    const cluster = await readCluster(at("c"));
    expect(cluster.nodes.map(({ name }) => name)).to.deep.equal(["n1", "n2"]);
    expect(cluster.tokensOf("alice").map(({ name }) => name)).to.deep.equal(["zones"]);
    const member = cluster.find("client", "alice");
    expect(cluster.byKeyId(member?.identity.keyId ?? "")).to.equal(member);
  });

  const wrong: Readonly<Record<string, [text: string, says: string]>> = {
    "no file": ["", "ENOENT"],
    "no TOML": ["=", "Invalid TOML document"],
    "an unknown setting": [`colour = 1\n${good}`, 'unknown property "colour"'],
    "one node": [head + entry("node", "n1", 1) + alice + token, "node must contain at least 2"],
    "an address without a scheme": [good.replace("tls://", ""), "servers must be addresses like"],
    "no address": [good.replace('"tls://a:4222"', ""), "servers must contain at least 1"],
    "a name that is none": [good.replace('"n2"', '"n.2"'), "node 2: MemberEntry: name must match"],
    "a short key": [good.replace(key(2), "AA"), "node 2: MemberEntry: identity must match"],
    "an unknown field": [good.replace("[[client]]", "[[client]]\nx = 1"), "client 1: MemberEntry"],
    "a name twice": [good.replace('"n2"', '"n1"'), "member name n1 occurs twice"],
    "a name in two roles": [good.replace('"alice"\n', '"n1"\n'), "member name n1 occurs twice"],
    "an identity twice": [good.replace(key(2), key(1)), "node n2: identity used twice"],
    "a login twice": [good.replace(login(2), login(1)), `login ${login(1)} occurs twice`],
    "plain text over a network": [
      good.replace("tls://a", "nats://10.0.0.1"),
      "servers: nats://10.0.0.1:4222 is not a loopback address, so it must be tls://",
    ],
    "a login that is an identity": [
      good.replace(login(1), encodeNKey(key(3))),
      "node n1: its login is an identity key",
    ],
    "a token of nobody": [good.replace('["alice"]', '["bob"]'), "no client is named bob"],
    "a token twice": [good + token, "token zones occurs twice"],
  };
  for (const [what, [text, says]] of Object.entries(wrong)) {
    it(`with ${what} is refused in one sentence`, async () => {
      if (text !== "") await writeFile(at("c"), text);
      const error = await failure(readCluster(at("c")), "ERR_INVALID_CONFIG");
      expect(error.message)
        .to.include(says)
        .and.match(new RegExp(`^${at("c")}: `));
      expect(error.message).to.not.include("(ERR_");
    });
  }
});
