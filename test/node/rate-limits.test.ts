import { mkdtempSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { KeyEntry } from "../../src/node/key-directory.js";
import { RateLimits } from "../../src/node/rate-limits.js";
import { codeOf } from "./eventually.js";

const key = "ab".repeat(16);
const limited = (rateLimit?: number, ratePeriodSeconds?: number): KeyEntry =>
  ({ record: { key, rateLimit, ratePeriodSeconds } }) as KeyEntry;
/** So slow that nothing is refilled while the test runs. */
const daily = limited(100, 86_400_000);

describe("a key's rate limit", () => {
  let dataDir: string;
  let now: number;
  const open = (): Promise<RateLimits> => RateLimits.open(dataDir, () => now);
  beforeEach(() => {
    now = Date.parse("2026-01-01T00:00:00Z");
    dataDir = mkdtempSync(join(tmpdir(), "thsm-rate-"));
  });
  afterEach(() => rm(dataDir, { recursive: true }));

  it("lets exactly as many signatures through, in whatever portions, side by side", async () => {
    const rates = await open();
    await Promise.all(Array.from({ length: 20 }, () => rates.take(daily, 3)));
    expect(await codeOf(rates.take(daily, 41))).to.equal("ERR_RATE_LIMITED");
    // What was refused has taken nothing.
    await rates.take(daily, 40);
    expect(await codeOf(rates.take(daily, 1))).to.equal("ERR_RATE_LIMITED");
  });

  it("refills with time, to the brim and no further", async () => {
    const fast = limited(1000, 1);
    const rates = await open();
    const startedMs = performance.now();
    await rates.take(fast, 1000);
    for (;;) {
      if ((await codeOf(rates.take(fast, 100)).catch(() => "")) === "") break;
    }
    expect(performance.now() - startedMs).to.be.greaterThan(95);
    expect(await codeOf(rates.take(fast, 1001))).to.equal("ERR_RATE_LIMITED");
  });

  it("is not filled by a restart, nor by a clock that is set back", async () => {
    await (await open()).take(daily, 50);
    now -= 3_600_000;
    const again = await open();
    expect(await codeOf(again.take(daily, 51))).to.equal("ERR_RATE_LIMITED");
    await again.take(daily, 50);
    expect(await codeOf((await open()).take(daily, 1))).to.equal("ERR_RATE_LIMITED");
  });

  it("refills while the node is away, and costs a portion of a twentieth for a crash", async () => {
    await (await open()).take(daily, 1);
    expect(await codeOf((await open()).take(daily, 96))).to.equal("ERR_RATE_LIMITED");
    await (await open()).take(daily, 95);
    now += 86_400_000_000;
    await (await open()).take(daily, 100);
  });

  it("costs a key without one nothing, and leaves nothing of a dead one", async () => {
    const rates = await open();
    await rates.take(limited(), 1_000_000);
    expect(await readdir(join(dataDir, "rates"))).to.deep.equal([]);
    await rates.take(daily, 1);
    await rates.forget(key);
    expect(await readdir(join(dataDir, "rates"))).to.deep.equal([]);
  });
});
