/**
 * @module `npm run bench`: one table of what the whole way costs, with every process on this
 * machine, against the limit that the machine's own arithmetic sets. Writes bench/results.json.
 * `BENCH_BITS=1024,2048 BENCH_QUORUMS=2-of-3,3-of-5 BENCH_SECONDS=10` choose what is measured;
 * SLOW=1 measures everything.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { bringUp, takeDown } from "../../src/cli/dev/cluster.js";
import { Processes } from "../../src/cli/dev/processes.js";
import { connect, type HsmClient } from "../../src/client/index.js";
import {
  exponentiationMs,
  load,
  processorMs,
  quantile,
  residentMiB,
  warmUpSeconds,
} from "./measure.js";

interface Row {
  readonly bits: number;
  readonly quorum: string;
  readonly exponentiationMs: number;
  readonly limitPerSecond: number;
  readonly signaturesPerSecond: number;
  readonly ratio: number;
  readonly singleP50Ms: number;
  readonly singleP99Ms: number;
  readonly processorMsPerSignature: Readonly<Record<string, number>>;
  readonly residentMiB: Readonly<Record<string, number>>;
}

const isSlow = process.env["SLOW"] === "1";
const sizes = (process.env["BENCH_BITS"] ?? (isSlow ? "1024,2048,3072,4096" : "1024,2048"))
  .split(",")
  .map(Number);
const quorums = (process.env["BENCH_QUORUMS"] ?? (isSlow ? "2-of-3,3-of-5" : "3-of-5")).split(",");
const seconds = Number(process.env["BENCH_SECONDS"] ?? 10);
const inFlight = 64;
const cores = availableParallelism();

const rows: Row[] = [];
for (const quorum of quorums) rows.push(...(await measureCluster(quorum)));
console.log(table(rows));
await mkdir("bench", { recursive: true });
const machine = { cores, processor: cpus()[0]?.model ?? "", node: process.version };
await writeFile("bench/results.json", `${JSON.stringify({ machine, inFlight, rows }, null, 2)}\n`);

async function measureCluster(quorum: string): Promise<Row[]> {
  const [threshold = 0, parties = 0] = quorum.split("-of-").map(Number);
  const root = await mkdtemp(join(tmpdir(), "thsm-bench-"));
  const dir = join(root, "c");
  try {
    const environment = await bringUp({ dir, parties, threshold, token: "dns", onStep: note });
    const client = await connect({ configFile: environment["THSM_CONFIG"] ?? "" });
    try {
      await client.unlock(environment["THSM_PIN"] ?? "");
      const measured: Row[] = [];
      await warmUp(client);
      for (const bits of sizes) {
        note(`making a key of ${bits} bits, ${quorum}`);
        const key = await client.generateKey({ token: "dns", label: "bench", modulusBits: bits });
        const session = await client.openSession("dns", "bench");
        note(`signing for ${seconds} s with ${inFlight} in flight, then one by one`);
        const first = await exponentiationMs(key);
        const before = await usage(dir);
        const many = await load(session, key, inFlight, seconds);
        const after = await usage(dir);
        // Before and after: a virtual machine's processor has moods.
        const exponentiation = (first + (await exponentiationMs(key))) / 2;
        const single = await load(session, key, 1, Math.min(seconds, 5));
        await session.close();
        const limit = (1000 * cores) / (threshold * exponentiation);
        measured.push({
          bits,
          quorum,
          exponentiationMs: exponentiation,
          limitPerSecond: limit,
          signaturesPerSecond: many.rate,
          ratio: many.rate / limit,
          singleP50Ms: quantile(single.latencies, 0.5),
          singleP99Ms: quantile(single.latencies, 0.99),
          // The warm-up signs too: scale to what the counters saw.
          processorMsPerSignature: perSignature(
            before,
            after,
            many.rate * (seconds + warmUpSeconds),
          ),
          residentMiB: Object.fromEntries(
            Object.entries(after).map(([name, one]) => [name, Math.round(one.residentMiB)]),
          ),
        });
      }
      return measured;
    } finally {
      await client.close();
    }
  } finally {
    await takeDown(dir);
    await rm(root, { recursive: true, force: true });
  }
}

/**
 * Some thousand small requests: processes run their code slowly until it is compiled, which a signer in service
 * never sees. With few in flight each signature is a request.
 */
async function warmUp(client: HsmClient): Promise<void> {
  note("warming up");
  const key = await client.generateKey({ token: "dns", label: "warm", modulusBits: 1024 });
  const session = await client.openSession("dns", "bench");
  await load(session, key, 4, 20);
  await session.close();
}

type Usage = Record<string, { processorMs: number; residentMiB: number }>;

async function usage(dir: string): Promise<Usage> {
  const processes = new Processes(dir);
  const found: Usage = {};
  for (const name of [...(await processes.known()), "client"]) {
    const pid = name === "client" ? process.pid : await processes.find(name);
    if (pid === undefined || name === "pkcs11d") continue;
    found[name] = { processorMs: await processorMs(pid), residentMiB: await residentMiB(pid) };
  }
  return found;
}

/** Nodes together, NATS, and the client with its combining. */
function perSignature(before: Usage, after: Usage, signatures: number): Record<string, number> {
  const spent: Record<string, number> = { nodes: 0, nats: 0, client: 0 };
  for (const [name, one] of Object.entries(after)) {
    const group = name === "nats" || name === "client" ? name : "nodes";
    const ms = one.processorMs - (before[name]?.processorMs ?? 0);
    spent[group] = (spent[group] ?? 0) + ms / signatures;
  }
  return spent;
}

function table(measured: readonly Row[]): string {
  const head =
    "| bits | quorum | T ms | limit sig/s | sig/s | ratio | p50 ms (1) | p99 ms (1) | CPU ms/sig nodes | nats | client |";
  const rule = head.replaceAll(/[^|]/g, "-");
  const lines = measured.map((row) => {
    const cpu = row.processorMsPerSignature;
    const cells = [
      row.bits,
      row.quorum,
      row.exponentiationMs.toFixed(2),
      row.limitPerSecond.toFixed(0),
      row.signaturesPerSecond.toFixed(0),
      row.ratio.toFixed(2),
      row.singleP50Ms.toFixed(1),
      row.singleP99Ms.toFixed(1),
      cpu["nodes"]?.toFixed(2),
      cpu["nats"]?.toFixed(2),
      cpu["client"]?.toFixed(2),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [head, rule, ...lines].join("\n");
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
