/** @module An audit to its end, with all that a report tells. Memory does not grow with the history. */
import {
  replayHistory,
  Statistics,
  type Finding,
  type HistorySource,
  type VerifyOptions,
} from "../../client/index.js";
import type { Cluster } from "../../identity/cluster.js";
import type { Report } from "./page.js";

export interface CollectOptions extends Pick<
  VerifyOptions,
  "recombine" | "scope" | "threads" | "onProgress"
> {
  /** The scope as a person wrote it. */
  readonly asked?: readonly string[];
}

/** Of each severity: a page with a million rows helps nobody. */
const mostListed = 300;

export async function collectReport(
  source: HistorySource,
  cluster: Cluster,
  { asked = [], ...options }: CollectOptions = {},
): Promise<Report> {
  const nodes = cluster.nodes.map(({ name }) => name);
  const statistics = new Statistics(nodes, options.scope);
  const findings: Finding[] = [];
  const listed = { finding: 0, note: 0 };
  const run = replayHistory(source, cluster, { ...options, events: true, signings: true });
  let step = await run.next();
  while (step.done !== true) {
    const item = step.value;
    if (item.type !== "finding") statistics.add(item);
    else if (listed[item.finding.severity]++ < mostListed) findings.push(item.finding);
    step = await run.next();
  }
  return {
    cluster: cluster.name,
    madeAt: new Date(),
    scope: asked,
    isRecombined: options.recombine ?? true,
    summary: step.value,
    statistics,
    findings,
  };
}
