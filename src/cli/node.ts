/** @module `thsm node …`: what an operator says of a node. */
import type { Command } from "commander";
import { clearNode } from "../client/index.js";
import { operatorConfigOf, print, type GlobalOptions } from "./context.js";

interface ClearFlags {
  readonly operator?: string;
  readonly dir?: string;
  readonly reason?: string;
}

export function addNodeCommands(program: Command): void {
  program
    .command("node")
    .description("say something of a node, as the operator")
    .command("clear")
    .description("let clients trust a culprit or suspect again")
    .argument("<node>", "the node's name")
    .option("--reason <text>", "why, for the record")
    .option("--operator <file>", "operator.toml (default: $THSM_OPERATOR_CONFIG)")
    .option("--dir <dir>", "a development cluster's directory")
    .addHelpText(
      "after",
      `
Look at the evidence first (thsm status; thsm audit evidence FILE), and mend or replace the node:
  thsm node clear n2 --reason "memory replaced"
Every client asks it again from then on. What it does afterwards counts again.`,
    )
    .action(async (node: string, flags: ClearFlags) => {
      const { reason, operator, dir } = flags;
      const configFile = operatorConfigOf(operator, dir);
      const cleared = await clearNode(configFile, node, reason);
      const text = `node ${node} is cleared by ${cleared.operator}, entry ${cleared.seq} of THSM_AUDIT`;
      print(program.opts<GlobalOptions>(), cleared, text);
    });
}
