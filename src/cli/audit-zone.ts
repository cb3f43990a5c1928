/** @module `thsm audit zone`: a signed zone against the log. */
import type { Command } from "commander";
import { auditZone, formatZoneReport } from "../client/index.js";
import {
  jobsOf,
  tellVerified,
  withArithmetic,
  withHistory,
  withSource,
  type ArithmeticFlags,
  type SourceFlags,
} from "./audit-source.js";
import { print, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";

/** The zone has signatures that are not recorded. */
const found = 3;

export function addZoneCommand(program: Command, audit: Command): void {
  withArithmetic(withSource(audit.command("zone")))
    .description("compare a signed zone with the log: signatures nobody asked for, and old ones")
    .argument("<file>", "the zone as its signer writes it: a master file with RRSIG and DNSKEY")
    .addHelpText(
      "after",
      `
An RRSIG by an RSA key that no client of the cluster has on record is a finding, whoever's key it is. What the log
has beyond the zone (signatures that were replaced since, requests that failed) is counted by key, with its times.
RRSIGs of other algorithms are counted only. Whether a signature covers what stands in the zone, a validator tells.

Exit code: 0 every RSA signature is recorded and verifies, 3 not, 2 zone or history cannot be read.

Examples:
  knotc zone-flush example.org +outdir /tmp/zones && thsm audit zone /tmp/zones/example.org.zone
  thsm audit zone --offline /archive/2026-11-22 example.org.signed --json`,
    )
    .action(async (file: string, flags: SourceFlags & ArithmeticFlags) => {
      await withHistory(flags, async ({ source, cluster }) => {
        const progress = showProgress();
        const report = await auditZone(file, source, cluster, {
          threads: jobsOf(flags.jobs),
          onProgress: tellVerified(progress),
        });
        const isClean = report.findings.length === 0;
        progress.end(isClean ? "every signature is recorded" : "NOT every signature is recorded");
        print(program.opts<GlobalOptions>(), report, formatZoneReport(report));
        process.exitCode = isClean ? 0 : found;
      });
    });
}
