import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { IdentityLock } from "../../src/client/identity-lock.js";
import { WrongPinError } from "../../src/errors.js";
import { createIdentityFile, readIdentityFile } from "../../src/identity/identity-file.js";
import { newRecoveryCode, normalizedRecoveryCode } from "../../src/identity/recovery-code.js";
import { failure } from "../support/errors.js";
import { run } from "../support/run.js";

const child = fileURLToPath(new URL("./pin-child.js", import.meta.url));

describe("a PIN", function () {
  this.timeout(60_000);
  let dir: string;
  let identityFile: string;
  let attempts: string;
  const code = newRecoveryCode();

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "thsm-pin-"));
    identityFile = join(dir, "identity.json");
    attempts = `${identityFile}.attempts`;
    await createIdentityFile(identityFile, "alice", { pin: "1234", recoveryCode: code });
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const lockOf = (pinAttemptsMax = 3): Promise<IdentityLock> =>
    IdentityLock.of({ identityFile, pinAttemptsMax });

  it("that is wrong says how many attempts are left, and a right one forgets them", async () => {
    const lock = await lockOf();
    expect(await lock.pinState()).to.deep.equal({ wrong: 0, left: 3 });
    for (const left of [2, 1]) {
      const error = await failure(lock.open("0000"), "ERR_WRONG_PIN");
      expect(error).to.be.instanceOf(WrongPinError);
      expect((error as WrongPinError).attemptsLeft).to.equal(left);
    }
    expect(await lock.pinState()).to.deep.equal({ wrong: 2, left: 1 });
    expect((await stat(attempts)).mode & 0o777).to.equal(0o600);
    await lock.open("1234");
    expect(await lock.pinState()).to.deep.equal({ wrong: 0, left: 3 });
  });

  it("is locked after so many, the right one too, until it is unlocked", async () => {
    const lock = await lockOf();
    const { ticket } = await (await readIdentityFile(identityFile)).open("1234");
    for (let i = 0; i < 3; i++) await failure(lock.open("0000"), "ERR_WRONG_PIN");
    const error = await failure(lock.open("1234"), "ERR_PIN_LOCKED");
    expect(error.message).to.include("thsm pin unlock");
    await failure(lock.changePin("1234", "5678"), "ERR_PIN_LOCKED");
    expect(lock.isOpen).to.equal(false);
    // Whoever was logged in before goes on.
    await lock.openWithTicket(ticket);
    expect(lock.isOpen).to.equal(true);
    await lock.forgiveWrongPins();
    await lock.open("1234");
  });

  it("is answered later and later", async () => {
    const lock = await lockOf(100);
    await writeFile(attempts, '{"version":1,"wrong":3}', { mode: 0o600 });
    const started = performance.now();
    await failure(lock.open("0000"), "ERR_WRONG_PIN");
    expect(performance.now() - started).to.be.at.least(1000);
  });

  it("is counted once for each of many attempts at the same time, of several processes", async () => {
    const locks = await Promise.all([lockOf(6), lockOf(6)]);
    const own = locks.map((lock) => lock.open("0000").catch((error: WrongPinError) => error));
    const others = ["0001", "0002"].map((pin) =>
      run(process.execPath, [child, identityFile, "6", pin]),
    );
    const left = (await Promise.all(own)).map((error) => (error as WrongPinError).attemptsLeft);
    const said = (await Promise.all(others)).map(({ text }) =>
      /(\w+) attempts are left/.exec(text),
    );
    expect(
      [...left, ...said.map((match) => Number(match?.[1]))].toSorted((a, b) => a - b),
    ).to.deep.equal([2, 3, 4, 5]);
    expect(await (await lockOf(6)).pinState()).to.deep.equal({ wrong: 4, left: 2 });
  });

  it("is right many times at once without being counted as wrong", async () => {
    const lock = await lockOf();
    await Promise.all(Array.from({ length: 8 }, () => lock.open("1234")));
    expect(await lock.pinState()).to.deep.equal({ wrong: 0, left: 3 });
  });

  it("is counted though the process is killed before it answers", async () => {
    // With three wrong ones on record the answer takes a second.
    await writeFile(attempts, '{"version":1,"wrong":3}', { mode: 0o600 });
    const guess = spawn(process.execPath, [child, identityFile, "10", "0000"]);
    const exited = once(guess, "exit");
    const lock = await lockOf(10);
    while ((await lock.pinState()).wrong === 3) await new Promise(setImmediate);
    guess.kill("SIGKILL");
    await exited;
    expect(await lock.pinState()).to.deep.equal({ wrong: 4, left: 6 });
    // The dead one's lock is in nobody's way.
    await lock.open("1234");
  });

  it("that cannot be counted is not tried", async () => {
    const lock = await IdentityLock.of({
      identityFile,
      pinAttemptsFile: join(dir, "none", "attempts"),
      pinAttemptsMax: 3,
    });
    const error = await failure(lock.open("1234"), "ERR_INVALID_CONFIG");
    expect(error.message).to.include("pinAttemptsFile");
    await writeFile(attempts, "{}x", { mode: 0o600 });
    const damaged = await failure((await lockOf()).open("1234"), "ERR_INVALID_CONFIG");
    expect(damaged.message).to.include("thsm pin unlock");
    await chmod(attempts, 0o644);
    await failure((await lockOf()).open("1234"), "ERR_UNTRUSTED_FILE");
    await (await lockOf()).forgiveWrongPins();
    await (await lockOf()).open("1234");
  });

  it("can be changed: the old one and its tickets are stale, in other processes too", async () => {
    const lock = await lockOf();
    const daemon = await lockOf();
    const old = await daemon.open("1234");
    daemon.close();
    await failure(lock.changePin("0000", "5678"), "ERR_WRONG_PIN");
    for (const none of ["", "123", "12\n345", "x".repeat(256)]) {
      await failure(lock.changePin("1234", none), "ERR_INVALID_ARGUMENT");
    }
    const ticket = await lock.changePin("1234", "päss 5678");
    await failure(daemon.openWithTicket(old), "ERR_WRONG_PIN");
    await failure(daemon.open("1234"), "ERR_WRONG_PIN");
    await daemon.openWithTicket(ticket);
    await daemon.open("päss 5678");
    expect(daemon.require().publicKey.keyId).to.equal(daemon.keyId);
    const files = (await readdir(dir)).filter((name) => !name.includes(".lock"));
    expect(files.toSorted()).to.deep.equal(["identity.json", "identity.json.attempts"]);
  });

  it("that is forgotten is replaced with the recovery code, again and again", async () => {
    const lock = await lockOf();
    for (let i = 0; i < 3; i++) await failure(lock.open("0000"), "ERR_WRONG_PIN");
    await failure(lock.resetPin(newRecoveryCode(), "5678"), "ERR_WRONG_PIN");
    await failure(lock.resetPin("x", "5678"), "ERR_WRONG_PIN");
    await failure(lock.resetPin(code, "1"), "ERR_INVALID_ARGUMENT");
    await failure(lock.checkRecoveryCode(newRecoveryCode()), "ERR_WRONG_PIN");
    await lock.checkRecoveryCode(code);
    await failure(lock.open("1234"), "ERR_PIN_LOCKED");
    await lock.resetPin(` ${code.toLowerCase().replaceAll("-", " ")}\n`, "5678");
    await lock.open("5678");
    await lock.changePin("5678", "abcd");
    await lock.resetPin(code, "9999");
    await lock.open("9999");
    await createIdentityFile(identityFile, "alice", "1234");
    await failure((await lockOf()).resetPin(code, "5678"), "ERR_INVALID_ARGUMENT");
    await failure((await lockOf()).checkRecoveryCode(code), "ERR_INVALID_ARGUMENT");
  });

  it("is in no file, nor is the recovery code", async () => {
    const lock = await lockOf();
    await lock.changePin("1234", "secret PIN");
    const files = await Promise.all(
      (await readdir(dir)).map((name) => readFile(join(dir, name), "utf8")),
    );
    expect(files.join()).to.not.include("secret PIN").and.not.include(normalizedRecoveryCode(code));
  });
});
