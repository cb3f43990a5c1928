/** @module Measuring: the machine's own exponentiation, rates, latencies, processor time. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { KeyInfo, SigningSession } from "../../src/client/index.js";

/** Linux counts processor time in hundredths of a second. */
const ticksPerSecond = 100;

/**
 * Milliseconds of one full-length secret exponentiation modulo the key's modulus, as OpenSSL does it while
 * every core does the same: what the nodes cannot avoid. Mean over the cores.
 */
export async function exponentiationMs({ modulus }: KeyInfo): Promise<number> {
  const filename = fileURLToPath(new URL("exponentiation.js", import.meta.url));
  const cores = availableParallelism();
  const threads = new Piscina<Uint8Array, number>({
    filename,
    name: "timeExponentiation",
    minThreads: cores,
    maxThreads: cores,
  });
  try {
    const each = await Promise.all(Array.from({ length: cores }, () => threads.run(modulus)));
    return each.reduce((sum, one) => sum + one, 0) / cores;
  } finally {
    await threads.destroy();
  }
}

export interface Load {
  /** Signatures a second. */
  readonly rate: number;
  readonly signatures: number;
  /** Milliseconds of each signature, ascending. */
  readonly latencies: readonly number[];
}

/** What is begun before a measurement, so that the queues are as full as they will be. */
export const warmUpSeconds = 5;

/** Keeps `inFlight` signatures under way for `seconds`, after the warm-up. */
export async function load(
  session: SigningSession,
  key: KeyInfo,
  inFlight: number,
  seconds: number,
): Promise<Load> {
  const latencies: number[] = [];
  const begin = performance.now() + warmUpSeconds * 1000;
  const end = begin + seconds * 1000;
  const worker = async (): Promise<void> => {
    for (;;) {
      const start = performance.now();
      if (start >= end) return;
      await session.sign({
        keyId: key.keyId,
        encoding: "pkcs1v15",
        hash: "sha256",
        data: randomBytes(32),
      });
      const now = performance.now();
      // Only what both began and ended while we count.
      if (start >= begin && now <= end) latencies.push(now - start);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  latencies.sort((a, b) => a - b);
  return { rate: latencies.length / seconds, signatures: latencies.length, latencies };
}

/** The value below which a share `q` of the samples lies. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

/** Processor time of a process, or of one of its threads, so far, in milliseconds. */
export async function processorMs(pid: number, thread?: number): Promise<number> {
  const file = thread === undefined ? `/proc/${pid}/stat` : `/proc/${pid}/task/${thread}/stat`;
  const stat = await readFile(file, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

/** Resident memory of a process in MiB. */
export async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024;
}
