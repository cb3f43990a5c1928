/** @module `thsm dev …`: a whole cluster on one machine, for trying and testing. */
import { once } from "node:events";
import { InvalidArgumentError, type Command } from "commander";
import { HsmError } from "../../errors.js";
import { print, say, type GlobalOptions } from "../context.js";
import {
  bringUp,
  killNode,
  startOneNode,
  stopNode,
  takeDown,
  type DevEnvironment,
} from "./cluster.js";

const defaultDir = "./thsm-dev";

interface UpFlags {
  readonly dir: string;
  readonly parties: number;
  readonly threshold?: number;
  readonly token: string;
  readonly detach?: boolean;
}

export function addDevCommands(program: Command): void {
  const dev = program.command("dev").description("a whole cluster on this machine, for trying it");
  const dirFlag = [
    "--dir <dir>",
    "the cluster's directory",
    process.env["THSM_DIR"] ?? defaultDir,
  ] as const;

  dev
    .command("up")
    .description("start NATS, the nodes and the PKCS#11 daemon; again: start what does not run")
    .option(...dirFlag)
    .option("--parties <n>", "how many nodes", parseCount, 5)
    .option("--threshold <k>", "how many of them sign (default: a majority)", parseCount)
    .option("--token <name>", "name of the token", "dns")
    .option("--detach", "return when all is up, instead of staying until Ctrl-C")
    .addHelpText(
      "after",
      '\nPrints shell lines that tell programs where everything is:\n  eval "$(thsm dev up --detach)"',
    )
    .action(async (flags: UpFlags) => {
      const { dir, parties, token } = flags;
      const threshold = flags.threshold ?? Math.floor(parties / 2) + 1;
      if (threshold * 2 <= parties || threshold > parties) {
        throw new HsmError(
          "ERR_INVALID_ARGUMENT",
          `threshold ${threshold} of ${parties}: it must be more than half of the parties, and at most all`,
        );
      }
      let environment;
      try {
        environment = await bringUp({ dir, parties, threshold, token, onStep: say });
      } catch (error) {
        await takeDown(dir);
        throw error;
      }
      print(program.opts<GlobalOptions>(), environment, exportLines(environment));
      if (flags.detach === true) return;
      say("up; Ctrl-C ends it");
      const held = setInterval(() => undefined, 60_000);
      await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
      clearInterval(held);
      await takeDown(dir);
    });

  dev
    .command("down")
    .description("stop everything that `up` started; files stay")
    .option(...dirFlag)
    .action(async ({ dir }: { dir: string }) => {
      const stopped = await takeDown(dir);
      const text = stopped.length === 0 ? "nothing runs there" : `stopped ${stopped.join(", ")}`;
      print(program.opts<GlobalOptions>(), { stopped }, text);
    });

  dev
    .command("stop-node")
    .description("stop one node")
    .argument("<node>", "its number, or its name", parseNode)
    .option(...dirFlag)
    .action(async (node: string, { dir }: { dir: string }) => {
      const wasRunning = await stopNode(dir, node);
      const text = wasRunning ? `stopped ${node}` : `${node} did not run`;
      print(program.opts<GlobalOptions>(), { node, wasRunning }, text);
    });

  dev
    .command("kill-node")
    .description("end one node without warning, as a crash does")
    .argument("<node>", "its number, or its name", parseNode)
    .option(...dirFlag)
    .action(async (node: string, { dir }: { dir: string }) => {
      const wasRunning = await killNode(dir, node);
      const text = wasRunning ? `killed ${node}` : `${node} did not run`;
      print(program.opts<GlobalOptions>(), { node, wasRunning }, text);
    });

  dev
    .command("start-node")
    .description("start one node again")
    .argument("<node>", "its number, or its name", parseNode)
    .option(...dirFlag)
    .action(async (node: string, { dir }: { dir: string }) => {
      await startOneNode(dir, node);
      print(program.opts<GlobalOptions>(), { node }, `started ${node}`);
    });
}

function exportLines(environment: DevEnvironment): string {
  return Object.entries(environment)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`)
    .join("\n");
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 2 || count > 32) {
    throw new InvalidArgumentError("expected a number from 2 to 32");
  }
  return count;
}

function parseNode(text: string): string {
  return /^\d+$/.test(text) ? `n${text}` : text;
}
