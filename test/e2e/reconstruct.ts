/**
 * @module What no machine of a cluster may ever have: all secrets of a dealt key, put together from the
 * nodes' own files. For tests that look for them where they must not be.
 */
import { gcd, modInv } from "bigint-mod-arith";
import { KeyStore } from "../../src/node/key-store.js";
import type { KeyInfo } from "../../src/client/index.js";

/** Shares s_i by party, and what follows from them (names as in the paper). */
export interface WholeKey {
  readonly shares: readonly bigint[];
  readonly d: bigint;
  readonly m: bigint;
  readonly p: bigint;
  readonly q: bigint;
}

/** `dataDirs` by party; `proposal` is the hash of the key's `proposed` event. */
export async function reconstruct(
  key: KeyInfo,
  proposal: string,
  dataDirs: readonly string[],
): Promise<WholeKey> {
  const shares: bigint[] = [];
  for (const [index, dataDir] of dataDirs.entries()) {
    const store = await KeyStore.open(dataDir);
    const binding = { key: key.keyId, epoch: 0, party: index + 1, proposal };
    const bytes = await store.load(binding);
    shares.push(toNumber(bytes.subarray(-key.modulus.length)));
  }
  const N = toNumber(key.modulus);
  const e = toNumber(key.publicExponent);
  const delta = factorial(dataDirs.length);
  // Δ·d ≡ Σ λ_i s_i mod m, so every quorum gives e·Σ λ_i s_i − Δ: a multiple of m.
  const sums = quorums(dataDirs.length, key.threshold).map((quorum) =>
    quorum.reduce((sum, i) => sum + lagrange(delta, i, quorum) * (shares[i - 1] ?? 0n), 0n),
  );
  const multiple = sums.map((sum) => abs(e * sum - delta)).reduce((a, b) => gcd(a, b));
  // m = (p−1)(q−1)/4 is a little less than N/4, which tells how many times it is in there.
  const m = multiple / ((4n * multiple) / N + (((4n * multiple) % N) * 2n > N ? 1n : 0n));
  const sum = N + 1n - 4n * m;
  const root = squareRoot(sum * sum - 4n * N);
  const [p, q] = [(sum + root) / 2n, (sum - root) / 2n];
  if (p * q !== N) throw new Error("the shares do not give the key");
  return { shares, d: modInv(e, m), m, p, q };
}

export function toBytes(value: bigint): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}

/** All k-subsets of 1 … n. */
function quorums(n: number, k: number): number[][] {
  if (k === 0) return [[]];
  if (n < k) return [];
  return [...quorums(n - 1, k), ...quorums(n - 1, k - 1).map((rest) => [...rest, n])];
}

function lagrange(delta: bigint, i: number, quorum: readonly number[]): bigint {
  let [above, below] = [delta, 1n];
  for (const j of quorum) {
    if (j === i) continue;
    above *= BigInt(j);
    below *= BigInt(j - i);
  }
  return above / below;
}

function factorial(n: number): bigint {
  return n <= 1 ? 1n : BigInt(n) * factorial(n - 1);
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function squareRoot(square: bigint): bigint {
  let root = 1n << BigInt(Math.ceil(square.toString(2).length / 2));
  for (;;) {
    const next = (root + square / root) / 2n;
    if (next >= root) return root;
    root = next;
  }
}
