/**
 * @module What the scheme's operations cost, as multiples of T: one OpenSSL exponentiation with a
 * secret exponent as long as N, on this machine in this run. `node dist/test/bench/scheme.js`
 */
import { createHash } from "node:crypto";
import { Bench } from "tinybench";
import { bytesToNumber } from "../../src/scheme/bytes.js";
import {
  combine,
  encodeMessage,
  findQuorum,
  modulusSizes,
  parseSignatureShare,
  ShareSigner,
  verifyShareProof,
  verifySignature,
} from "../../src/scheme/index.js";
import { Exponentiator } from "../../src/scheme/modexp.js";
import { fixedRandom, testKey } from "../support/keys.js";

const rows: Record<string, Record<string, string>> = {};
for (const modulusBits of modulusSizes) {
  for (const [parties, threshold] of [
    [3, 2],
    [5, 3],
  ] as const) {
    const { group, shares } = testKey(modulusBits, parties, threshold);
    const data = createHash("sha256").update("bench").digest();
    const message = encodeMessage(group, { encoding: "pkcs1v15", hash: "sha256", data });
    const signers = shares.map((share) => new ShareSigner(group, share));
    const answers = signers.map((signer) => signer.sign(message));
    const parsed = answers.map((bytes, i) => parseSignatureShare(group, i + 1, bytes));
    const [signer, answer, share] = [signers[0], answers[0], parsed[0]];
    if (signer === undefined || answer === undefined || share === undefined) continue;
    const context = { keyId: "bench", epoch: 0 };
    const proof = signer.prove(message, context);
    const signature = combine(group, message, parsed.slice(-threshold));
    const full = bytesToNumber(fixedRandom("bench")(group.modulusLength));
    const exponentiator = new Exponentiator(group.modulus).setExponent(full);
    const x = bytesToNumber(message);

    const bench = new Bench({ time: 150, warmupTime: 100, iterations: 10, warmupIterations: 5 });
    bench
      .add("T", () => exponentiator.power(x))
      .add("sign", () => signer.sign(message))
      .add("parse", () => parseSignatureShare(group, 1, answer))
      .add("combine", () => combine(group, message, parsed.slice(-threshold)))
      .add("quorum of all", () => findQuorum(group, message, parsed))
      .add("verify", () => verifySignature(group, message, signature))
      .add("prove", () => signer.prove(message, context))
      .add("verify proof", () => verifyShareProof(group, message, share, proof, context));
    bench.runSync();
    const milliseconds = bench.tasks.map(({ name, result }) => ({
      name,
      value: "latency" in result ? result.latency.p50 : NaN,
    }));
    const unit = milliseconds[0]?.value ?? NaN;
    rows[`${modulusBits} bits, ${threshold} of ${parties}`] = Object.fromEntries(
      milliseconds.map(({ name, value }) =>
        name === "T" ? ["T in ms", unit.toFixed(2)] : [name, (value / unit).toFixed(3)],
      ),
    );
  }
}
console.table(rows);
