/**
 * @module Looks for every secret of a cluster in all that it stores, logs and sends. Only what is
 * documented may be found: each secret in its own file, PIN and ticket on the module's socket.
 */
import { fromSeed } from "@nats-io/nkeys";
import { expect } from "chai";
import { createDecipheriv, randomBytes } from "node:crypto";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KeyInfo } from "../../src/client/index.js";
import { fromBase64url } from "../../src/identity/encoding.js";
import { readIdentityFile } from "../../src/identity/identity-file.js";
import { TestCluster } from "./cluster.js";
import { bodyOf, readHistory } from "./history.js";
import { Needles, spellings, type Secret } from "./needles.js";
import { reconstruct, toBytes } from "./reconstruct.js";
import { Recorder } from "./recorder.js";

const nodes = ["n1", "n2", "n3"];

describe("secrets", function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let key: KeyInfo;
  let secrets: Secret[];
  let needles: Needles;
  let broker: Recorder;
  let socket: Recorder;
  const said: Buffer[] = [];

  before(async () => {
    cluster = await TestCluster.start({ parties: 3, threshold: 2 });
    await cluster.down();
    await putRecorderBefore("n1", "client");
    // As talkative as anybody may configure them.
    const configs = ["client/pkcs11d.toml", ...nodes.map((name) => `nodes/${name}/node.toml`)];
    for (const file of configs) appendFileSync(join(cluster.dir, file), 'logLevel = "debug"\n');
    await cluster.up();
    socket = await Recorder.start(cluster.path("s"), { path: join(cluster.dir, "pkcs11d.sock") });
    const conf = `socket = ${cluster.path("s")}\ntoken = dns\n`;
    await writeFile(cluster.path("recorded.conf"), conf);
    Object.assign(cluster.env, {
      THSM_PKCS11_CONF: cluster.path("recorded.conf"),
      THSM_PKCS11_DEBUG: "1",
    });
    key = await useEverything();
    secrets = await allSecrets();
    needles = new Needles(secrets);
  });
  after(async () => {
    Recorder.closeAll();
    await cluster.close();
  });

  /** From now on these members reach nats-server through a recorder. */
  async function putRecorderBefore(...members: string[]): Promise<void> {
    const url = /nats:\/\/127\.0\.0\.1:(\d+)/;
    const fileOf = (member: string): string =>
      join(cluster.dir, member === "client" ? member : `nodes/${member}`, "cluster.toml");
    const port = Number(url.exec(readFileSync(fileOf("client"), "utf8"))?.[1]);
    broker = await Recorder.start(0, { host: "127.0.0.1", port });
    for (const member of members) {
      const text = readFileSync(fileOf(member), "utf8");
      writeFileSync(fileOf(member), text.replace(url, `nats://127.0.0.1:${broker.port}`));
    }
  }

  async function useEverything(): Promise<KeyInfo> {
    const keep = async (outcome: Promise<{ code: number; text: string }>): Promise<number> => {
      const { code, text } = await outcome;
      said.push(Buffer.from(text));
      return code;
    };
    const generate = ["--debug", "key", "generate", "--label", "k", "--bits", "1024", "--id", "01"];
    expect(await keep(cluster.thsm(...generate))).to.equal(0);
    const sign = [
      "--sign",
      "--id",
      "01",
      "-m",
      "SHA256-RSA-PKCS",
      "--input-file",
      cluster.path("s.txt"),
    ];
    await writeFile(cluster.path("s.txt"), "to sign");
    expect(await keep(cluster.pkcs11Tool(...sign))).to.equal(0);
    expect(
      await keep(cluster.pkcs11Tool("--keypairgen", "--key-type", "rsa:1024", "--id", "02")),
    ).to.equal(0);
    expect(
      await keep(cluster.thsm("--debug", "sign", "--key", "k", cluster.path("s.txt"))),
    ).to.equal(0);
    const wrong = ["--module", cluster.module, "--token-label", "dns", "--login", "--pin", "0"];
    expect(await keep(cluster.run("pkcs11-tool", ...wrong, "-O"))).to.equal(1);
    await keep(cluster.thsm("key", "list"));
    const client = await cluster.client();
    try {
      const found = (await client.keys("dns")).find(({ label }) => label === "k");
      if (found === undefined) throw new Error("no key k");
      return found;
    } finally {
      await client.close();
    }
  }

  async function allSecrets(): Promise<Secret[]> {
    const proposed = (await readHistory(cluster)).find(
      (one) => one.stream === "THSM_KEY" && bodyOf(one)["key"] === key.keyId,
    );
    const dataDirs = nodes.map((name) => join(cluster.dir, "nodes", name, "data"));
    const whole = await reconstruct(key, proposed?.hash ?? "", dataDirs);
    const found: Secret[] = [
      ...whole.shares.map((share, i) => ({ name: `s${i + 1}`, bytes: toBytes(share) })),
      { name: "d", bytes: toBytes(whole.d) },
      // Its upper half is N/4's: everybody knows it.
      { name: "m", bytes: toBytes(whole.m).subarray(-64) },
      { name: "p", bytes: toBytes(whole.p) },
      { name: "q", bytes: toBytes(whole.q) },
      { name: "p'", bytes: toBytes((whole.p - 1n) / 2n) },
      { name: "q'", bytes: toBytes((whole.q - 1n) / 2n) },
      { name: "pin", bytes: Buffer.from(cluster.pin), isText: true },
    ];
    for (const node of nodes) {
      const at = join(cluster.dir, "nodes", node);
      const identity = JSON.parse(await readFile(join(at, "identity.json"), "utf8")) as {
        secret: string;
      };
      found.push({ name: `secret of ${node}`, bytes: await readFile(join(at, "data/secret")) });
      found.push({
        name: `seed of ${node}`,
        bytes: Buffer.from(fromBase64url(identity.secret, "")),
      });
    }
    found.push(...(await clientSecrets()));
    for (const folder of [
      "client",
      "auditor",
      "operator",
      "provisioner",
      ...nodes.map((n) => `nodes/${n}`),
    ]) {
      for (const name of await readdir(join(cluster.dir, folder))) {
        if (!name.endsWith(".nk")) continue;
        const seed = (await readFile(join(cluster.dir, folder, name))).toString("utf8").trim();
        found.push({ name: `${folder}/${name}`, bytes: Buffer.from(seed), isText: true });
        const raw = Buffer.from(fromSeed(new TextEncoder().encode(seed)).getSeed());
        expect(raw.toString("utf8")).to.equal(seed);
      }
    }
    return found;
  }

  /** The seed of the client's identity, and the ticket that opens it. */
  async function clientSecrets(): Promise<Secret[]> {
    const path = join(cluster.dir, "client/identity.json");
    const { ticket } = await (await readIdentityFile(path)).open(cluster.pin);
    const content = JSON.parse(await readFile(path, "utf8")) as Record<string, string>;
    const sealed = fromBase64url(content["secret"] ?? "", "");
    const decipher = createDecipheriv(
      "aes-256-gcm",
      ticket,
      fromBase64url(content["nonce"] ?? "", ""),
    );
    const seed = decipher.update(sealed.subarray(0, -16));
    return [
      { name: "ticket", bytes: Buffer.from(ticket) },
      { name: "seed of c1", bytes: seed },
    ];
  }

  async function filesBelow(directory: string): Promise<string[]> {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  }

  it("would be found: whole or in pieces, in every spelling", () => {
    for (const { name, bytes, isText } of secrets) {
      const piece =
        isText === true
          ? bytes
          : bytes.subarray(16, 32).length === 16
            ? bytes.subarray(16, 32)
            : bytes.subarray(0, 16);
      for (const [spelling, spell] of Object.entries(spellings)) {
        for (const [index, spelt] of spell(piece).entries()) {
          if (spelt.length < 8) continue;
          const noise = randomBytes(1000 + index);
          const haystack = Buffer.concat([noise, Buffer.from(" "), spelt, Buffer.from(" "), noise]);
          expect(needles.find(haystack), `${name} in ${spelling}`).to.include(name);
        }
      }
      const message = Buffer.from(JSON.stringify({ x: bytes.toString("base64url") }));
      expect(needles.find(message), name).to.include(name);
    }
    expect(needles.find(randomBytes(100_000))).to.deep.equal([]);
  });

  it("lie in their own files and in no other: store, journals, logs, configuration", async () => {
    const found: string[] = [];
    const files = await filesBelow(cluster.dir);
    for (const file of files) {
      for (const name of needles.find(await readFile(file))) {
        found.push(`${file.slice(cluster.dir.length + 1)}: ${name}`);
      }
    }
    const own = [
      "client/pin: pin",
      ...nodes.flatMap((n) => [
        `nodes/${n}/data/secret: secret of ${n}`,
        `nodes/${n}/identity.json: seed of ${n}`,
      ]),
      ...secrets.flatMap(({ name }) => (name.endsWith(".nk") ? [`${name}: ${name}`] : [])),
    ];
    expect(found.toSorted()).to.deep.equal(own.toSorted());
    // What was looked at is what there is: streams, logs, journals, shares.
    for (const part of ["nats/store/", "log/pkcs11d.log", "data/journal/", `${key.keyId}.share`]) {
      expect(
        files.some((file) => file.includes(part)),
        part,
      ).to.equal(true);
    }
  });

  it("are in no stored message", async () => {
    const history = await readHistory(cluster);
    expect(history.length).to.be.greaterThan(20);
    const found = history.flatMap(({ payload, stream, seq }) =>
      needles.find(Buffer.from(payload)).map((name) => `${stream} ${seq}: ${name}`),
    );
    expect(found).to.deep.equal([]);
  });

  it("are not sent to nats-server", () => {
    const { bytes } = broker;
    expect(bytes.includes("HPUB thsm.v1.deal.n1.")).to.equal(true);
    expect(bytes.includes("HPUB thsm.v1.share.n1.")).to.equal(true);
    expect(needles.find(bytes)).to.deep.equal([]);
  });

  it("are not on the module's socket, but PIN and ticket", () => {
    expect(needles.find(socket.bytes)).to.deep.equal(["pin", "ticket"]);
  });

  it("are in nobody's output", () => {
    expect(said.every(({ length }) => length > 0)).to.equal(true);
    expect(needles.find(Buffer.concat(said))).to.deep.equal([]);
  });
});
