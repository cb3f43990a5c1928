/** @module One thread's time for a full-length secret exponentiation. */
import { createDiffieHellman, randomBytes } from "node:crypto";
import { quantile } from "./measure.js";

const rounds = 150;

/** Milliseconds, the median. */
export function timeExponentiation(modulus: Uint8Array): number {
  const engine = createDiffieHellman(Buffer.from(modulus), 2);
  engine.setPrivateKey(randomBytes(modulus.length));
  const base = randomBytes(modulus.length);
  base[0] = 0;
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    engine.computeSecret(base);
    times.push(performance.now() - start);
  }
  return quantile(times, 0.5);
}
