/** @module `thsm audit …` */
import type { Command } from "commander";
export function addAuditCommands(_program: Command): void {}
