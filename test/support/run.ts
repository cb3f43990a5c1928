/** @module Other programs, run to their end. */
import { spawn } from "node:child_process";
import { once } from "node:events";

export interface Outcome {
  /** −1 after a signal. */
  readonly code: number;
  readonly stdout: Buffer;
  /** Both streams as text, for looking at and for messages of failed expectations. */
  readonly text: string;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: Uint8Array | string;
  /** SIGKILL after so long; default 2 minutes. */
  readonly timeoutMs?: number;
}

/** Runs a program, whatever its end is. */
export async function run(
  program: string,
  parameters: readonly string[],
  { env = process.env, input = "", timeoutMs = 120_000 }: RunOptions = {},
): Promise<Outcome> {
  const child = spawn(program, parameters, {
    env,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    stdio: "pipe",
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  // Not every program reads its input to the end.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  const out = Buffer.concat(stdout);
  return {
    code: code ?? -1,
    stdout: out,
    text: `${out.toString("utf8")}${Buffer.concat(stderr).toString("utf8")}`,
  };
}

/** The same, but only success counts. */
export async function succeed(
  program: string,
  parameters: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const outcome = await run(program, parameters, options);
  if (outcome.code !== 0) {
    throw new Error(
      `${program} ${parameters.join(" ")} ended with ${outcome.code}: ${outcome.text}`,
    );
  }
  return outcome;
}
