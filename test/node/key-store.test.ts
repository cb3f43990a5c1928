import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { copyFile, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { KeyStore, type ShareBinding } from "../../src/node/key-store.js";
import { codeOf } from "./eventually.js";

const share = Buffer.from("a key share that nobody may see".repeat(4));
const binding: ShareBinding = {
  key: "0123456789abcdef0123456789abcdef",
  epoch: 0,
  party: 1,
  proposal: "ab".repeat(32),
};
const other: ShareBinding = { ...binding, key: "f".repeat(32) };

describe("key shares at rest", () => {
  let dataDir: string;
  let store: KeyStore;
  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "thsm-keys-"));
    store = await KeyStore.open(dataDir);
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  const pathOf = ({ key }: ShareBinding): string => join(dataDir, "keys", `${key}.share`);
  it("come back as they were, also after a restart", async () => {
    await store.save(binding, share);
    expect(Buffer.from(await store.load(binding)).equals(share)).to.equal(true);
    const again = await KeyStore.open(dataDir);
    expect(again.keys).to.deep.equal([binding.key]);
    expect(Buffer.from(await again.load(binding)).equals(share)).to.equal(true);
  });

  it("are for their owner's eyes, and encrypted, differently each time", async () => {
    await store.save(binding, share);
    const once = await readFile(pathOf(binding));
    expect((await stat(pathOf(binding))).mode & 0o777).to.equal(0o600);
    expect(once.includes("key share")).to.equal(false);
    await store.save(binding, share);
    expect((await readFile(pathOf(binding))).subarray(8).equals(once.subarray(8))).to.equal(false);
  });

  it("open for nothing else than what they were stored for", async () => {
    await store.save(binding, share);
    for (const wrong of [
      { ...binding, epoch: 1 },
      { ...binding, party: 2 },
      { ...binding, proposal: "00".repeat(32) },
    ]) {
      expect(await codeOf(store.load(wrong))).to.equal("ERR_INVALID_KEY_SHARE");
    }
    await copyFile(pathOf(binding), pathOf(other));
    expect(await codeOf(store.load(other))).to.equal("ERR_INVALID_KEY_SHARE");
    expect(await codeOf(store.load({ ...binding, key: "0".repeat(32) }))).to.equal(
      "ERR_INVALID_CONFIG",
    );
  });

  it("do not open with any byte changed, or cut short", async () => {
    await store.save(binding, share);
    const whole = await readFile(pathOf(binding));
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x80;
      await writeFile(pathOf(binding), damaged);
      expect(await codeOf(store.load(binding)), `byte ${at}`).to.equal("ERR_INVALID_KEY_SHARE");
    }
    for (const length of [0, 7, 40, whole.length - 1]) {
      await writeFile(pathOf(binding), whole.subarray(0, length));
      expect(await codeOf(store.load(binding))).to.equal("ERR_INVALID_KEY_SHARE");
    }
  });

  it("do not open with another node's secret, and are not orphaned silently", async () => {
    await store.save(binding, share);
    await writeFile(join(dataDir, "secret"), Buffer.alloc(32), { mode: 0o600 });
    const wrong = await KeyStore.open(dataDir);
    expect(await codeOf(wrong.load(binding))).to.equal("ERR_INVALID_KEY_SHARE");
    await rm(join(dataDir, "secret"));
    expect(await codeOf(KeyStore.open(dataDir))).to.equal("ERR_INVALID_CONFIG");
  });

  it("are not read when others can read the secret", async () => {
    chmodSync(join(dataDir, "secret"), 0o640);
    expect(await codeOf(KeyStore.open(dataDir))).to.equal("ERR_UNTRUSTED_FILE");
  });

  it("are gone when erased, and so are the drafts of a crash", async () => {
    await store.save(binding, share);
    await writeFile(`${pathOf(other)}.0011.tmp`, share);
    await store.erase(binding.key);
    await store.erase(binding.key);
    expect(store.has(binding.key)).to.equal(false);
    const again = await KeyStore.open(dataDir);
    expect(await readdir(join(dataDir, "keys"))).to.deep.equal([]);
    expect(again.keys).to.deep.equal([]);
  });
});
