/**
 * @module How the memory of an audit grows with the history: looked at as it goes, with a line through the later
 * points, and what that line comes to at a million signatures.
 */
import type { AuditRun, Sample } from "./audit-run.js";

const million = 1_000_000;
/** Before that buffers fill, and code is compiled. */
const settledAfter = 0.3;
const mebibyte = 2 ** 20;

export interface MemoryRow {
  readonly inputsPerRequest: number;
  readonly signatures: number;
  readonly threads: number;
  /** Without forced collections: what the machine must have. */
  readonly plain: AuditRun;
  /** What is left after a collection: what the audit keeps. */
  readonly collected: AuditRun;
}

interface Line {
  readonly bytesPerSignature: number;
  readonly atZeroBytes: number;
  /** Of a point from the line, at most. */
  readonly deviationBytes: number;
}

export function memoryTable(rows: readonly MemoryRow[]): string {
  const head =
    "| inputs a request | signatures | threads | resident MiB after 25 %, 50 %, 75 %, all | peak MiB | kept MiB after 25 %, 50 %, 75 %, all | kept bytes a signature | off the line by MiB | resident bytes a signature | MB at 1,000,000 (< 300) |";
  const lines = rows.map(({ inputsPerRequest, signatures, threads, plain, collected }) => {
    const kept = lineThrough(collected.samples, signatures, ({ usedBytes }) => usedBytes);
    const resident = lineThrough(plain.samples, signatures, (one) => one.residentBytes);
    const steeper = Math.max(kept.bytesPerSignature, resident.bytesPerSignature);
    const atMillion = plain.peakBytes + steeper * Math.max(0, million - signatures);
    const cells = [
      inputsPerRequest,
      signatures,
      threads,
      quarters(plain.samples, ({ residentBytes }) => residentBytes),
      mebibytes(plain.peakBytes),
      quarters(collected.samples, ({ usedBytes }) => usedBytes),
      kept.bytesPerSignature.toFixed(0),
      (kept.deviationBytes / mebibyte).toFixed(1),
      resident.bytesPerSignature.toFixed(0),
      (atMillion / 1e6).toFixed(0),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [head, head.replaceAll(/[^|]/g, "-"), ...lines].join("\n");
}

/** The line of least squares through what comes after the beginning. */
function lineThrough(
  samples: readonly Sample[],
  signatures: number,
  bytesOf: (one: Sample) => number,
): Line {
  const points = samples
    .filter(({ part }) => part >= settledAfter)
    .map((one) => ({ x: one.part * signatures, y: bytesOf(one) }));
  const meanOf = (of: (point: { x: number; y: number }) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [meanX, meanY] = [meanOf(({ x }) => x), meanOf(({ y }) => y)];
  const bytesPerSignature =
    meanOf(({ x, y }) => (x - meanX) * (y - meanY)) / meanOf(({ x }) => (x - meanX) ** 2);
  const atZeroBytes = meanY - bytesPerSignature * meanX;
  const deviations = points.map(({ x, y }) => Math.abs(y - atZeroBytes - bytesPerSignature * x));
  return { bytesPerSignature, atZeroBytes, deviationBytes: Math.max(...deviations) };
}

function quarters(samples: readonly Sample[], bytesOf: (one: Sample) => number): string {
  const nearest = [0.25, 0.5, 0.75, 1].map((part) =>
    samples.reduce((one, other) =>
      Math.abs(other.part - part) < Math.abs(one.part - part) ? other : one,
    ),
  );
  return nearest.map((one) => mebibytes(bytesOf(one))).join(", ");
}

function mebibytes(bytes: number): string {
  return (bytes / mebibyte).toFixed(0);
}
