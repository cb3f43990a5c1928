/** @module What happened: how much was signed, how fast, by which nodes, with which keys, for whom. */
import { hourMs, type KeyStatistics, type NodeStatistics } from "../../client/index.js";
import { bar, columnChart, type Column } from "./charts.js";
import { count, counted, day, duration, minute, percent } from "./format.js";
import { foreign, markup, type Content, type Html } from "./markup.js";
import type { Report } from "./page.js";
import { table } from "./table.js";

export function tiles({ statistics }: Report): Html {
  const { requests, signatures, decryptions, failed, open, latency, attempts } = statistics;
  const escalated = requests - (attempts.get(1) ?? 0);
  const refused = statistics.nodes.values().reduce((sum, node) => sum + node.refused, 0);
  const other = decryptions === 0 ? "" : ` and ${counted(decryptions, "decryption")}`;
  return markup`<dl class="tiles">
${tile("Signatures", count(signatures), `in ${counted(requests, "request")}${other}`)}
${latency.count === 0 ? "" : tile("Half of them within", duration(latency.percentileMs(0.5)), `99 of 100 within ${duration(latency.percentileMs(0.99))}`)}
${tile("Escalated", percent(escalated, requests), counted(escalated, "request"))}
${tile("Failed", count(failed), open === 0 ? "all others have a result" : `${counted(open, "more")} without an end`.replace("mores", "more"))}
${tile("Refusals by nodes", count(refused), "answers without a share")}
</dl>`;
}

function tile(name: string, value: string, more: string): Html {
  return markup`<div><dt>${name}</dt><dd>${value} <small>${more}</small></dd></div>`;
}

export function latencySection({ statistics: { latency, hours, attempts } }: Report): Html {
  const perHour = hours.values().filter(({ signatures }) => signatures > 0);
  const series = columnsOf(perHour.map(({ startMs, signatures }) => [startMs, signatures]));
  if (latency.count === 0) return markup``;
  const most = series.columns.reduce((one, other) => (other.value > one.value ? other : one));
  const edges = [0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, Infinity];
  const columns = edges.slice(1).map((to, index): Column => {
    const from = edges[index] ?? 0;
    const label =
      to === Infinity ? `> ${from / 1000} s` : `≤ ${to < 1000 ? `${to} ms` : `${to / 1000} s`}`;
    return { label, value: latency.between(from, to) };
  });
  const parts = [0.5, 0.9, 0.99, 0.999];
  return markup`<section><h2>Signatures over time</h2>
${columnChart({
  id: "hours",
  title: `Signatures per ${series.unit}`,
  text: `Signatures per ${series.unit}, by the clients' clocks; the most, ${count(most.value)}, from ${most.label}.`,
  columns: series.columns,
})}
<h2>How long a signature takes</h2>
${columnChart({
  id: "latency",
  title: "Requests by duration",
  text: `Requests by the time from asking to a verified result: half within ${duration(latency.percentileMs(0.5))}, the longest ${duration(latency.longestMs)}.`,
  columns,
})}
${table(
  "Percentiles, within 2 %, as the clients measured them",
  ["Requests", ...parts.map((part) => `#${100 * part} %`), "#Longest"],
  [
    [
      count(latency.count),
      ...parts.map((part) => duration(latency.percentileMs(part))),
      duration(latency.longestMs),
    ],
  ],
)}
${table(
  "Attempts: how many requests had to ask further nodes",
  ["Attempts", "#Requests"],
  [...attempts]
    .toSorted(([one], [other]) => one - other)
    .map(([tries, many]) => [tries, count(many)]),
)}</section>`;
}

export function nodesSection({ statistics, findings }: Report): Html {
  const nodes = statistics.nodes.values();
  const most = Math.max(...nodes.map(({ combined }) => combined));
  const proven = new Set(findings.filter(isProof).map(({ node }) => node));
  const suspected = new Set([
    ...statistics.blames.values().map(({ node }) => node),
    ...findings.filter(({ code }) => code === "AUDIT_SUSPECT_SHARE").map(({ node }) => node),
  ]);
  const standing = ({ node, asked, answered }: NodeStatistics): Html => {
    if (proven.has(node)) return tag("bad", "✗ culprit");
    if (suspected.has(node)) return tag("warn", "! suspected");
    if (asked > 0 && answered === 0) return tag("warn", "! silent");
    return tag("good", "✓ nothing wrong");
  };
  return markup`<section><h2>Nodes</h2>
${table(
  "What each node contributed. A signature needs the shares of k nodes; the others' are not missed.",
  [
    "Node",
    "Standing",
    "#Signatures with its share",
    "Part",
    "#Asked",
    "#Answered",
    "#Silent",
    "#Refused",
    "#Starts",
  ],
  nodes.map((one) => [
    foreign(one.node),
    standing(one),
    count(one.combined),
    bar(one.combined, most),
    count(one.asked),
    percent(one.answered, one.asked),
    count(one.asked - one.answered),
    count(one.refused),
    count(one.starts),
  ]),
)}</section>`;
}

function isProof({ code }: { readonly code: string }): boolean {
  return (
    code === "AUDIT_WRONG_SHARE" || code === "AUDIT_NODE_CULPRIT" || code === "AUDIT_CHAIN_FORK"
  );
}

export function keysSection({ statistics: { keys } }: Report): Html {
  const all = keys.values().toSorted((one, other) => other.signatures - one.signatures);
  const most = all[0]?.signatures ?? 0;
  return markup`<section><h2>Keys</h2>
${table(
  "What each key signed",
  ["Key", "Label", "Token", "Kind", "#Signatures", "Part", "#Failed"],
  all.map((one) => [
    markup`<code>${one.key.slice(0, 12)}</code>`,
    foreign(one.label),
    foreign(one.token),
    `RSA ${one.bits}, ${one.threshold} of ${one.parties.length}`,
    count(one.signatures),
    bar(one.signatures, most),
    count(one.failed),
  ]),
)}
${table(
  "The life of each key, as it is on record: when, THSM_KEY entry, by whom",
  ["Key", "Proposed", "Active", "Changed", "Destroyed or abandoned", "Erased by"],
  all.map((one) => [
    markup`<code>${one.key.slice(0, 12)}</code>`,
    step(one, "proposed"),
    step(one, "activated"),
    step(one, "relabelled"),
    [step(one, "destroyed"), step(one, "abandoned")],
    one.life.get("erased") === undefined
      ? ""
      : `${one.life.get("erased")?.by.size} of ${one.parties.length}`,
  ]),
)}</section>`;
}

function step(
  { life }: KeyStatistics,
  type: "proposed" | "activated" | "relabelled" | "destroyed" | "abandoned",
): Content {
  const found = life.get(type);
  if (found === undefined) return "";
  const { by, time, seq } = found;
  return markup`<span class="keep">${minute(time)}</span> <span class="quiet">entry ${seq}, ${foreign([...by].join(", "))}</span> `;
}

export function usersSection({ statistics: { applications } }: Report): Html {
  const all = applications.values().toSorted((one, other) => other.signatures - one.signatures);
  const most = all[0]?.signatures ?? 0;
  const left =
    applications.left === 0
      ? ""
      : ` ${counted(applications.left, "session")} of further programs are left out.`;
  return markup`<section><h2>Applications</h2>
${table(
  `Who asked. The client's name is verified; what a program calls itself is its own word.${left}`,
  ["Application", "Client", "#Sessions", "#Requests", "#Signatures", "Part", "#Failed"],
  all.map((one) => [
    foreign(one.application),
    foreign(one.client),
    count(one.sessions),
    count(one.requests),
    count(one.signatures),
    bar(one.signatures, most),
    count(one.failed),
  ]),
)}</section>`;
}

function tag(kind: "good" | "warn" | "bad", text: string): Html {
  return markup`<span class="tag ${kind}">${text}</span>`;
}

const widthsInHours = [1, 3, 6, 12, 24, 168, 720, 8760];
const mostColumns = 96;
const fewestColumns = 24;

/** Hours put together until they fit next to each other. */
function columnsOf(hours: readonly (readonly [ms: number, value: number])[]): {
  unit: string;
  columns: Column[];
} {
  const times = hours.map(([ms]) => ms);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const span = (last - first) / hourMs + 1;
  const width =
    widthsInHours.find((one) => span / one <= mostColumns) ?? Math.ceil(span / mostColumns);
  const widthMs = width * hourMs;
  const end = Math.floor(last / widthMs);
  const start = Math.min(Math.floor(first / widthMs), end - fewestColumns + 1);
  const sums = new Map<number, number>();
  for (const [ms, value] of hours) {
    const at = Math.floor(ms / widthMs);
    sums.set(at, (sums.get(at) ?? 0) + value);
  }
  const columns = Array.from({ length: end - start + 1 }, (_, index): Column => {
    const ms = (start + index) * widthMs;
    return {
      label: width < 24 ? minute(ms).slice(5) : day(ms),
      value: sums.get(start + index) ?? 0,
    };
  });
  const unit =
    width === 1
      ? "hour"
      : width < 24
        ? `${width} hours`
        : width === 24
          ? "day"
          : `${width / 24} days`;
  return { unit, columns };
}
