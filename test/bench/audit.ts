/**
 * @module `npm run bench:audit`: what an audit costs beside the arithmetic that it cannot do without. Makes
 * histories of requests with 1 and with 16 inputs, 2048 bits, 3 of 5, and audits each in processes of its own.
 * Writes bench/results-audit.json. `BENCH_SIGNATURES=20000` says how long the histories are. `SLOW=1` then shows how
 * memory grows over histories of 200,000 (`BENCH_MEMORY_SIGNATURES`), whose signatures are not made again;
 * with `BENCH_SIGNATURES=0` that alone.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { arithmeticSeconds } from "./audit-arithmetic.js";
import { memoryTable, type MemoryRow } from "./audit-memory.js";
import type { AuditRun, AuditRunOptions } from "./audit-run.js";
import { writeLongHistory } from "./long-history.js";
import { auditedKey } from "./audited-key.js";

interface Row {
  readonly inputsPerRequest: number;
  readonly signatures: number;
  readonly arithmeticSeconds: number;
  readonly oneThread: AuditRun;
  readonly allCores: AuditRun;
  readonly notRecombined: AuditRun;
  /** With a bookmark at the end. */
  readonly again: AuditRun;
  /** Of an audit on one thread to the arithmetic alone. */
  readonly ratio: number;
  /** Of one thread to all cores. */
  readonly scaling: number;
  /** The same of as many audits on a thread each at once, which share nothing: what the machine has to give. */
  readonly machineScaling: number;
  readonly notRecombinedPerSecond: number;
}

const runFile = promisify(execFile);
const signatures = Number(process.env["BENCH_SIGNATURES"] ?? 20_000);
const memorySignatures = Number(process.env["BENCH_MEMORY_SIGNATURES"] ?? 200_000);
const cores = availableParallelism();

const rows: Row[] = [];
for (const batch of signatures === 0 ? [] : [1, 16]) {
  rows.push(
    await withHistory(signatures, batch, (directory, count) => measure(directory, count, batch)),
  );
}
if (rows.length > 0) process.stdout.write(`${table(rows)}\n\n`);
const memory: MemoryRow[] = [];
if (process.env["SLOW"] === "1") {
  // One input a request is five messages a signature instead of a third of one.
  for (const [batch, most] of [
    [16, memorySignatures],
    [1, memorySignatures / 8],
  ] as const) {
    memory.push(
      ...(await withHistory(most, batch, (directory, count) => grow(directory, count, batch))),
    );
  }
  process.stdout.write(`${memoryTable(memory)}\n`);
}
await mkdir("bench", { recursive: true });
const machine = { cores, processor: cpus()[0]?.model ?? "", node: process.version };
await writeFile(
  "bench/results-audit.json",
  `${JSON.stringify({ machine, rows, memory }, null, 2)}\n`,
);

async function withHistory<T>(
  wanted: number,
  batch: number,
  use: (directory: string, count: number) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "thsm-bench-audit-"));
  try {
    // Whole requests.
    const count = Math.max(1, Math.floor(wanted / batch)) * batch;
    note(`writing a history of ${count} signatures, ${batch} a request`);
    writeLongHistory({ ...auditedKey, directory, signatures: count, batch });
    return await use(directory, count);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(directory: string, count: number, batch: number): Promise<Row> {
  note("the arithmetic alone");
  const least = await arithmeticSeconds(directory, count);
  note("audits: one thread, all cores, several at once, without recombination, with a bookmark");
  const oneThread = await audit({ directory, threads: 1, recombine: true });
  const allCores = await audit({ directory, threads: cores, recombine: true });
  const apart = await Promise.all(
    Array.from({ length: cores }, () => audit({ directory, threads: 1, recombine: true })),
  );
  const notRecombined = await audit({ directory, threads: 1, recombine: false });
  const again = await audit({ directory, threads: 1, recombine: true, isAgain: true });
  return {
    inputsPerRequest: batch,
    signatures: count,
    arithmeticSeconds: least,
    oneThread,
    allCores,
    notRecombined,
    again,
    ratio: oneThread.seconds / least,
    scaling: oneThread.seconds / allCores.seconds,
    machineScaling: apart.reduce((sum, { seconds }) => sum + oneThread.seconds / seconds, 0),
    notRecombinedPerSecond: count / notRecombined.seconds,
  };
}

async function grow(directory: string, count: number, batch: number): Promise<MemoryRow[]> {
  const grown: MemoryRow[] = [];
  for (const threads of [1, cores]) {
    note(`memory: ${threads} threads, as it comes and with forced collections`);
    const options = { directory, threads, recombine: false, samples: 40 };
    const plain = await audit(options);
    const collected = await audit(options, "--expose-gc");
    grown.push({ inputsPerRequest: batch, signatures: count, threads, plain, collected });
    note(memoryTable(grown));
  }
  return grown;
}

async function audit(options: AuditRunOptions, ...flags: string[]): Promise<AuditRun> {
  const file = fileURLToPath(new URL("audit-run.js", import.meta.url));
  // The first as in the first line of the installed command.
  const all = ["--heap-growing-percent=100", ...flags, file, JSON.stringify(options)];
  const { stdout } = await runFile(process.execPath, all);
  const result = JSON.parse(stdout) as AuditRun;
  if (result.findings > 0) throw new Error(`an honest history has ${result.findings} findings`);
  return result;
}

function table(measured: readonly Row[]): string {
  const head =
    "| inputs a request | signatures | arithmetic s | audit s, 1 thread | ratio (≤ 1.5) | audit s, all cores | scaling (≥ 1.7 on two) | of separate audits | main thread busy | sig/s a core, not recombined (≥ 3000 at 16) | bookmarked, of a whole audit | peak MiB, 1 thread | all cores |";
  const rule = head.replaceAll(/[^|]/g, "-");
  const mebibytes = ({ peakBytes }: AuditRun): string => (peakBytes / 2 ** 20).toFixed(0);
  const lines = measured.map((row) => {
    const cells = [
      row.inputsPerRequest,
      row.signatures,
      row.arithmeticSeconds.toFixed(2),
      row.oneThread.seconds.toFixed(2),
      row.ratio.toFixed(2),
      row.allCores.seconds.toFixed(2),
      row.scaling.toFixed(2),
      row.machineScaling.toFixed(2),
      `${((100 * row.allCores.mainThreadSeconds) / row.allCores.seconds).toFixed(0)} %`,
      row.notRecombinedPerSecond.toFixed(0),
      (row.again.seconds / row.oneThread.seconds).toFixed(2),
      mebibytes(row.oneThread),
      mebibytes(row.allCores),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [head, rule, ...lines].join("\n");
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
