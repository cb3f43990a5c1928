/** @module A history in memory as the commands of `thsm audit` read one: an export beside cluster.toml and auditor.toml. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { writeHistory } from "../../src/client/audit/export.js";
import { memoryHistory } from "../client/audit/audited.js";
import type { HistoryBuilder } from "../client/audit/history.js";
import { run, type Outcome } from "../support/run.js";

export class AuditCommand {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async over(history: HistoryBuilder): Promise<AuditCommand> {
    const dir = await mkdtemp(join(tmpdir(), "thsm-audit-"));
    await writeHistory(memoryHistory(history.streams), join(dir, "export"));
    await writeFile(join(dir, "cluster.toml"), stringify(history.clusterFile()));
    const auditor = { version: 1, name: "eva", cluster: "cluster.toml", loginFile: "none" };
    await writeFile(join(dir, "auditor.toml"), stringify(auditor));
    return new AuditCommand(dir);
  }

  path(name: string): string {
    return join(this.#dir, name);
  }

  /** `thsm audit <words>` on the export. */
  async thsm(...words: readonly string[]): Promise<Outcome> {
    const source = ["--auditor", this.path("auditor.toml"), "--offline", this.path("export")];
    const program = new URL("../../src/cli/main.js", import.meta.url).pathname;
    return await run(process.execPath, [program, "audit", ...words, ...source]);
  }

  async close(): Promise<void> {
    await rm(this.#dir, { recursive: true });
  }
}
