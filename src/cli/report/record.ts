/** @module What went wrong on the way, how the record grew, and what was checked. */
import { keptStreams } from "../../client/index.js";
import { sparkline } from "./charts.js";
import { bytes, count, minute } from "./format.js";
import { foreign, markup, type Html } from "./markup.js";
import type { Report } from "./page.js";
import { table } from "./table.js";

/** Blame, refusals and failures. */
export function troubleSection({ statistics }: Report): Html {
  const { blames, refusals, failures, clearings } = statistics;
  const parts = [
    table(
      "What clients say of nodes; “culprit” is proven by signed messages unless a finding says otherwise",
      ["Node", "Verdict", "What", "#Times", "Said by", "The newest", "THSM_AUDIT"],
      blames
        .values()
        .map((one) => [
          foreign(one.node),
          one.verdict,
          one.code,
          count(one.count),
          foreign(one.client),
          foreign(one.text),
          markup`<code>${one.first === one.last ? one.first : `${one.first}…${one.last}`}</code>`,
        ]),
    ),
    table(
      "Operators who settled what was said of a node",
      ["Node", "By", "When", "Why", "THSM_AUDIT"],
      clearings.map(({ node, operator, time, reason, seq }) => [
        foreign(node),
        foreign(operator),
        minute(time),
        foreign(reason ?? ""),
        markup`<code>${seq}</code>`,
      ]),
    ),
    table(
      "Refusals by nodes",
      ["Code", "Node", "#Times", "The newest", "THSM_SHARE"],
      codes(refusals),
    ),
    table(
      "Requests that failed",
      ["Code", "Client", "#Times", "The newest", "THSM_AUDIT"],
      codes(failures),
    ),
  ];
  const isEmpty = parts.every((part) => String(part) === "");
  return markup`<section><h2>Suspicion, refusals, failures</h2>
${isEmpty ? markup`<p>None: no node was blamed, nothing was refused, no request failed.</p>` : parts}</section>`;
}

function codes(tally: Report["statistics"]["refusals"]): Html[][] {
  return tally
    .values()
    .map(({ code, by, count: many, text, seq }) => [
      markup`<code>${code}</code>`,
      foreign(by),
      markup`${count(many)}`,
      foreign(text),
      markup`<code>${seq}</code>`,
    ]);
}

export function streamsSection({ summary, statistics }: Report): Html {
  const hours = statistics.hours.values().toSorted((one, other) => one.startMs - other.startMs);
  return markup`<section><h2>Streams</h2>
${table(
  "How the record grew. Bytes are those of the messages' payloads, by the NATS server's clock.",
  ["Stream", "#Messages", "#Entries", "#Bytes", "#A message", "Growth"],
  keptStreams.map((stream) => {
    const { messages, first, last } = summary.streams[stream];
    let sum = 0;
    const grown = hours.map((hour) => (sum += hour.bytes[stream]));
    return [
      markup`<code>${stream}</code>`,
      count(messages),
      `${first}–${last}`,
      bytes(sum),
      messages === 0 ? "" : bytes(Math.round(sum / messages)),
      sparkline(sample([0, ...grown])),
    ];
  }),
)}</section>`;
}

/** At most 200 of them, the last one included. */
function sample(values: readonly number[]): number[] {
  const step = Math.ceil(values.length / 200);
  return values.filter((_, index) => (values.length - 1 - index) % step === 0);
}

export function verifiedSection({ summary, statistics, isRecombined }: Report): Html {
  const { keys, sessions, requests, results, chainHeads } = summary;
  return markup`<section><h2>What was verified</h2>
<ul>
<li>Every message: signed by the member it names, of the right shape, on the right subject.</li>
<li>Every stream: entries 1, 2, 3 … without a gap.</li>
<li>Every node's chain and every session's: each message names the one before it.</li>
<li>${count(keys)} keys: every step of their lives taken by who may take it, each activation with its test.</li>
<li>${count(sessions)} sessions, ${count(requests)} requests, ${count(results)} results, ${count(statistics.tests)} tests of keys,
${count(statistics.explanations)} requests for proofs: every answer fits its request, every result its answers.</li>
<li>Every signature under its public key${isRecombined ? ", and made again from the shares on record" : "; not made again from shares"}.</li>
</ul>
<p>What an audit cannot see: a history that ends too early, unless it is compared with what an earlier audit or a
checkpoint says; and whatever k nodes together signed without saying so.</p>
${table(
  "Where each node's chain ends. Keep these: a later history must contain them.",
  ["Node", "#Messages", "Newest message"],
  chainHeads.map(({ node, n, hash }) => [
    foreign(node),
    count(n),
    markup`<code class="hash">${hash}</code>`,
  ]),
)}</section>`;
}
