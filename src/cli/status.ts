/** @module `thsm status`: is everything there, does somebody lie, is there room. */
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { clusterStatus, oneLine, type ClusterStatus, type NodeStatus } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import { configFile, print, say, type GlobalOptions } from "./context.js";

interface StatusFlags {
  readonly as?: string;
  readonly watch?: boolean;
}

const watchMs = 2000;

export function addStatusCommand(program: Command): void {
  program
    .command("status")
    .description("show nodes, culprits and suspects, keys, streams and the server")
    .option(
      "--as <file>",
      "client.toml, operator.toml or auditor.toml (default: $THSM_OPERATOR_CONFIG, then --config)",
    )
    .option("--watch", "again and again, also while NATS is away, until it is interrupted")
    .addHelpText(
      "after",
      `
A client does not see the streams, an operator not how long answers take; an auditor sees all.
  thsm status --as /etc/thsm/auditor.toml
Exit code: 0 no warnings, 3 there are some, 2 NATS cannot be reached or the file is wrong.`,
    )
    .action(async (flags: StatusFlags) => {
      const options = program.opts<GlobalOptions>();
      const isChosen = options.config !== undefined;
      const standard = isChosen ? undefined : process.env["THSM_OPERATOR_CONFIG"];
      const file = flags.as ?? standard ?? configFile(options);
      for (;;) {
        try {
          const status = await clusterStatus(file);
          print(options, status, formatStatus(status));
          process.exitCode = status.warnings.length > 0 ? 3 : 0;
        } catch (error) {
          // Who watches wants to see the end of an outage, too.
          if (flags.watch !== true || !isOutage(error)) throw error;
          say(`${new Date().toISOString()}  ${describeError(error)}`);
        }
        if (flags.watch !== true) return;
        await delay(watchMs);
      }
    });
}

function isOutage(error: unknown): boolean {
  return error instanceof HsmError && error.code === "ERR_BROKER_UNREACHABLE";
}

function formatStatus(status: ClusterStatus): string {
  const { nodes, blames, keys, streams, server, seenBy, role, time, warnings, notes } = status;
  const count = Object.entries(keys).map(([state, number]) => `${number} ${state}`);
  const lines = [
    `${time}, as ${role} ${seenBy} sees it; nats-server ${server}`,
    ...nodes.map(formatNode),
    ...blames.flatMap(({ node, verdict, code, time: since, by, text, evidence, seq }) => [
      `${verdict.toUpperCase()} ${node}, ${code}, since ${since}, says client ${by}`,
      `    ${text}`,
      `    evidence ${evidence.join(" ") || "none"}, entry ${seq} of THSM_AUDIT`,
    ]),
    `keys: ${count.join(", ")}`,
    ...(streams ?? []).map(
      ({ stream, messages, bytes, maxBytes }) =>
        `${stream.padEnd(10)} ${messages} messages, ${((100 * bytes) / maxBytes).toFixed(1)} % full`,
    ),
    ...notes.map((text) => `note: ${text}`),
    ...warnings.map((text) => `WARNING ${text}`),
  ];
  return lines.map(oneLine).join("\n");
}

function formatNode({ node, alive, boot, beat, queued, activeKeys, ...rest }: NodeStatus): string {
  const { clockMs, lag, latencyMs, software, sharesPerSecond } = rest;
  if (!alive) return `${node}  not heard`;
  const parts = [
    `up ${beat} s`,
    `boot ${boot?.slice(0, 6)}`,
    ...(software === undefined ? [] : [`version ${software}`]),
    `${activeKeys} keys`,
    `${queued} queued`,
    ...(sharesPerSecond === undefined ? [] : [`${sharesPerSecond} shares/s`]),
    `clock ${clockMs} ms`,
    ...(latencyMs === undefined ? [] : [`last answer ${latencyMs} ms`]),
    ...(lag === undefined ? [] : [`lag ${lag}`]),
  ];
  return `${node}  ${parts.join(", ")}`;
}
