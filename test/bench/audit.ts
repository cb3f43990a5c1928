/**
 * @module `npm run bench:audit`: what an audit costs beside the arithmetic that it cannot do without. Makes
 * histories of requests with 1 and with 16 inputs, 2048 bits, 3 of 5, and audits each in processes of its own.
 * Writes bench/results-audit.json. `BENCH_SIGNATURES=20000` says how long the histories are.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { arithmeticSeconds } from "./audit-arithmetic.js";
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
  readonly notRecombinedPerSecond: number;
  /** What a signature more adds to the peak of resident memory. */
  readonly bytesPerSignature: number;
}

const runFile = promisify(execFile);
const signatures = Number(process.env["BENCH_SIGNATURES"] ?? 20_000);
/** A history so much shorter shows how memory grows. */
const shorter = 4;
const cores = availableParallelism();

const rows: Row[] = [];
for (const batch of [1, 16]) rows.push(await measure(batch));
process.stdout.write(`${table(rows)}\n`);
await mkdir("bench", { recursive: true });
const machine = { cores, processor: cpus()[0]?.model ?? "", node: process.version };
await writeFile("bench/results-audit.json", `${JSON.stringify({ machine, rows }, null, 2)}\n`);

async function measure(batch: number): Promise<Row> {
  const root = await mkdtemp(join(tmpdir(), "thsm-bench-audit-"));
  try {
    const [directory, short] = [join(root, "long"), join(root, "short")];
    // Whole requests.
    const count = Math.max(shorter, Math.floor(signatures / batch)) * batch;
    const shortCount = Math.floor(count / batch / shorter) * batch;
    note(`writing a history of ${count} signatures, ${batch} a request`);
    writeLongHistory({ ...auditedKey, directory, signatures: count, batch });
    writeLongHistory({ ...auditedKey, directory: short, signatures: shortCount, batch });
    note("the arithmetic alone");
    const least = await arithmeticSeconds(directory, count);
    note(
      "audits: one thread, a shorter history, all cores, without recombination, with a bookmark",
    );
    const oneThread = await audit({ directory, threads: 1, recombine: true });
    const less = await audit({ directory: short, threads: 1, recombine: true });
    const allCores = await audit({ directory, threads: cores, recombine: true });
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
      notRecombinedPerSecond: count / notRecombined.seconds,
      bytesPerSignature: (oneThread.peakBytes - less.peakBytes) / (count - shortCount),
    };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function audit(options: AuditRunOptions): Promise<AuditRun> {
  const file = fileURLToPath(new URL("audit-run.js", import.meta.url));
  const { stdout } = await runFile(process.execPath, [file, JSON.stringify(options)]);
  const result = JSON.parse(stdout) as AuditRun;
  if (result.findings > 0) throw new Error(`an honest history has ${result.findings} findings`);
  return result;
}

function table(measured: readonly Row[]): string {
  const head =
    "| inputs a request | signatures | arithmetic s | audit s, 1 thread | ratio (≤ 1.5) | audit s, all cores | scaling (≥ 1.7 on two) | sig/s a core, not recombined (≥ 3000 at 16) | bookmarked, of a whole audit | peak MiB, 1 thread | all cores | bytes a signature more |";
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
      row.notRecombinedPerSecond.toFixed(0),
      (row.again.seconds / row.oneThread.seconds).toFixed(2),
      mebibytes(row.oneThread),
      mebibytes(row.allCores),
      row.bytesPerSignature.toFixed(0),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [head, rule, ...lines].join("\n");
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
