import { createHash } from "node:crypto";
import { expect } from "chai";
import { HsmError } from "../../src/errors.js";
import { SigningPool, type PoolKey, type SigningJob } from "../../src/node/signing-pool.js";
import { encodeMessage, serializeKeyShare, ShareSigner } from "../../src/scheme/index.js";
import { testKey } from "../support/keys.js";
import { rejection } from "./eventually.js";

const dealt = testKey(2048);
const [share] = dealt.shares;
if (share === undefined) throw new Error("no share");
const messages = Array.from({ length: 64 }, (_, i) =>
  encodeMessage(dealt.group, {
    encoding: "pkcs1v15",
    hash: "sha256",
    data: createHash("sha256").update(`message ${i}`).digest(),
  }),
);

describe("the signing pool", function () {
  this.timeout(20_000);
  let pool: SigningPool;
  let key: PoolKey;
  beforeEach(() => {
    pool = new SigningPool(2, 80);
    key = pool.addKey(dealt.group, serializeKeyShare(share, dealt.group));
  });
  afterEach(() => pool.close());

  const job = (count: number, more: Partial<SigningJob> = {}): SigningJob => ({
    key,
    encodedMessages: messages.slice(0, count),
    obstacle: () => undefined,
    ...more,
  });

  it("makes the same shares as the scheme, in the order of the inputs", async () => {
    const signer = new ShareSigner(dealt.group, share);
    const { shares, proofs } = await pool.sign(job(10));
    expect(proofs).to.deep.equal([]);
    expect(shares).to.have.length(10);
    for (const [i, one] of shares.entries()) {
      const wanted = signer.sign(messages[i] ?? new Uint8Array());
      expect(Buffer.from(one).equals(wanted)).to.equal(true);
    }
  });

  it("overwrites the share that it takes over", () => {
    const bytes = serializeKeyShare(share, dealt.group);
    pool.addKey(dealt.group, bytes);
    expect(bytes.every((byte) => byte === 0)).to.equal(true);
  });

  it("lets a single signature overtake a batch", async () => {
    await pool.sign(job(2));
    const order: string[] = [];
    const batch = pool.sign(job(64)).then(() => order.push("batch"));
    const single = pool.sign(job(1)).then(() => order.push("single"));
    await Promise.all([batch, single]);
    expect(order).to.deep.equal(["single", "batch"]);
  });

  it("refuses what would wait too long, and counts what waits", async () => {
    const batch = pool.sign(job(64));
    // Two threads have taken two portions each.
    expect(pool.waiting).to.equal(32);
    const { code } = await rejection(pool.sign(job(64)), HsmError);
    expect(code).to.equal("ERR_DEADLINE");
    await batch;
    expect(pool.waiting).to.equal(0);
    await pool.sign(job(64));
  });

  it("stops in the middle when there is an obstacle", async () => {
    let asked = 0;
    const obstacle = (): HsmError | undefined =>
      ++asked > 5 ? new HsmError("ERR_EXPIRED", "too late") : undefined;
    const { code } = await rejection(pool.sign(job(64, { obstacle })), HsmError);
    expect(code).to.equal("ERR_EXPIRED");
    expect(asked).to.equal(6);
    expect(pool.waiting).to.equal(0);
    await pool.sign(job(1));
  });

  it("keeps the code of what a thread refuses", async () => {
    const block = new Uint8Array(256).fill(0xff);
    const { code } = await rejection(pool.sign(job(1, { encodedMessages: [block] })), HsmError);
    expect(code).to.equal("ERR_INVALID_ARGUMENT");
    await pool.sign(job(1));
  });

  it("signs nothing with a key that is erased", async () => {
    await pool.sign(job(4));
    await pool.eraseKey(key);
    expect(new Uint8Array(key.material.share).every((byte) => byte === 0)).to.equal(true);
    const { code } = await rejection(pool.sign(job(1)), HsmError);
    expect(code).to.equal("ERR_INVALID_KEY_SHARE");
  });
});
