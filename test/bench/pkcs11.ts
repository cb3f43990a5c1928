/**
 * @module `npm run bench:pkcs11`: what module and daemon add. ods-hsmspeed and the library sign in
 * turns, with keys of the same size on the same cluster, so that a machine's moods fall on both.
 * `BENCH_BITS=1024,2048 BENCH_SECONDS=10 BENCH_ROUNDS=3` choose what is measured.
 */
import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bringUp, takeDown } from "../../src/cli/dev/cluster.js";
import { Processes } from "../../src/cli/dev/processes.js";
import { connect, type KeyInfo, type SigningSession } from "../../src/client/index.js";
import { succeed } from "../support/run.js";
import { load, quantile, warmUpSeconds } from "./measure.js";

const sizes = (process.env["BENCH_BITS"] ?? "1024,2048").split(",").map(Number);
const seconds = Number(process.env["BENCH_SECONDS"] ?? 10);
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3);

const root = await mkdtemp(join(tmpdir(), "thsm-bench-"));
const dir = join(root, "c");
const conf = join(root, "conf.xml");
const up = { dir, parties: 5, threshold: 3, token: "dns", onStep: note };
try {
  await bringUp(up);
  // ods-hsmspeed signs SHA-1 digests.
  await appendFile(join(dir, "client", "pkcs11d.toml"), "\nallowSha1 = true\n");
  await new Processes(dir).stop("pkcs11d");
  const env = await bringUp(up);
  await writeFile(conf, configuration(env["THSM_PKCS11_MODULE"] ?? "", env["THSM_PIN"] ?? ""));
  const client = await connect({ configFile: env["THSM_CONFIG"] ?? "" });
  try {
    await client.unlock(env["THSM_PIN"] ?? "");
    console.log("| bits | in flight | library sig/s | ods-hsmspeed sig/s | ratio | added ms |");
    console.log("| ---- | --------- | ------------- | ------------------ | ----- | -------- |");
    for (const bits of sizes) {
      const key = await client.generateKey({ token: "dns", label: "bench", modulusBits: bits });
      const session = await client.openSession("dns", "bench");
      for (const threads of [1, 8, 64]) {
        await compare(session, key, threads, { ...process.env, ...env });
      }
      await session.close();
    }
  } finally {
    await client.close();
  }
} finally {
  await takeDown(dir);
  await rm(root, { recursive: true, force: true });
}

/** Prints a line with the medians of all rounds. */
async function compare(
  session: SigningSession,
  key: KeyInfo,
  threads: number,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const [library, program]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    note(`${key.modulusBits} bits, ${threads} in flight, round ${round + 1} of ${rounds}`);
    const { rate } = await load(session, key, threads, seconds);
    library.push(rate);
    program.push(await hsmspeed(key.modulusBits, threads, rate, env));
  }
  const [ours, theirs] = [quantile(library, 0.5), quantile(program, 0.5)];
  // Of one signature after another only: with many under way, waiting for each other is in it too.
  const added = threads === 1 ? (1000 / theirs - 1000 / ours).toFixed(2) : "";
  const cells = [key.modulusBits, threads, ours.toFixed(0), theirs.toFixed(0)];
  console.log(`| ${[...cells, (theirs / ours).toFixed(2), added].join(" | ")} |`);
}

/**
 * Signatures a second of a run like the library's, without what comes before it: each run makes a key and threads of its
 * own and knows no warm-up, so a short one is taken off a long one.
 */
async function hsmspeed(
  bits: number,
  threads: number,
  expectedRate: number,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const run = async (forSeconds: number): Promise<{ count: number; seconds: number }> => {
    const each = Math.max(1, Math.round((expectedRate * forSeconds) / threads));
    const parameters = ["-c", conf, "-r", "thsm", "-i", each, "-s", bits, "-t", threads];
    const all = parameters.map(String);
    const { text } = await succeed("ods-hsmspeed", all, { env, timeoutMs: 600_000 });
    const count = each * threads;
    return { count, seconds: count / Number(/([\d.]+) sig\/s/.exec(text)?.[1]) };
  };
  const short = await run(warmUpSeconds);
  const long = await run(warmUpSeconds + seconds);
  return (long.count - short.count) / (long.seconds - short.seconds);
}

function configuration(module: string, pin: string): string {
  return `<Configuration>
<RepositoryList><Repository name="thsm">
<Module>${module}</Module><TokenLabel>dns</TokenLabel><PIN>${pin}</PIN>
</Repository></RepositoryList>
<Common><PolicyFile>/dev/null</PolicyFile><ZoneListFile>/dev/null</ZoneListFile></Common>
</Configuration>
`;
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
