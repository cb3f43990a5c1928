/** @module A history to be mutated, and all that an audit makes of what became of it. */
import type { AuditItem } from "../../../src/client/audit/audit.js";
import type { FindingCode } from "../../../src/client/audit/findings.js";
import type { Mark } from "../../../src/client/audit/positions.js";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import { replayHistory, type VerifyOptions } from "../../../src/client/audit/verify.js";
import { memoryHistory } from "./audited.js";
import { honestHistory, HistoryBuilder, type Stored, type Streams } from "./history.js";

export const history: HistoryBuilder = twoSessions();
/** Another history of the same members, to splice with. */
export const other: HistoryBuilder = otherHistory();

function otherHistory(): HistoryBuilder {
  const made = new HistoryBuilder();
  for (const node of made.nodes) made.nodeStarted(node);
  const first = made.openSession();
  made.closeSession(first);
  const session = made.openSession();
  made.makeKey(session);
  for (let count = 0; count < 8; count++) made.signed(session);
  made.closeSession(session);
  return made;
}

export function twoSessions(): HistoryBuilder {
  const made = honestHistory();
  const session = made.openSession();
  made.signed(session);
  made.signed(session, { parties: [1, 3] });
  made.closeSession(session);
  const last = made.openSession();
  made.signed(last);
  return made;
}

export interface Outcome {
  readonly codes: readonly FindingCode[];
  /** All that was verified, without the places that the server gave it. */
  readonly facts: unknown;
  readonly mark: Mark | undefined;
}

export async function outcome(streams: Streams, options: VerifyOptions = {}): Promise<Outcome> {
  let mark: Mark | undefined;
  const run = replayHistory(memoryHistory(streams), history.cluster, {
    ...options,
    events: true,
    signings: true,
    onMark: (made) => (mark = made),
  });
  const items: AuditItem[] = [];
  let step = await run.next();
  for (; step.done !== true; step = await run.next()) items.push(step.value);
  const { keys, sessions, requests, results, signaturesValid, chainHeads } = step.value;
  const codes = items.flatMap((item) =>
    item.type === "finding" && item.finding.severity === "finding" ? [item.finding.code] : [],
  );
  const signings = items.flatMap((item) => (item.type === "signing" ? [item] : []));
  const facts = {
    counts: { keys, sessions, requests, results, signaturesValid },
    chainHeads,
    messages: items
      .flatMap((item) => (item.type === "event" ? [item.event.message.hash] : []))
      .toSorted(),
    signings: signings
      .map(({ signing: { attempts, answers, closing }, verdict }) =>
        JSON.stringify([
          attempts.map(({ hash }) => hash),
          answers.map(({ hash }) => hash).toSorted(),
          closing?.hash,
          verdict,
        ]),
      )
      .toSorted(),
  };
  return { codes: [...new Set(codes)].toSorted(), facts, mark };
}

export function copy(of: HistoryBuilder = history): Streams {
  return structuredClone(of.streams);
}

/** As if nothing had ever been at the places that are empty now. */
export function renumbered(streams: Streams): Streams {
  for (const stream of keptStreams) {
    for (const [index, stored] of streams[stream].entries()) stored.seq = index + 1;
  }
  return streams;
}

/** The stored message at a place, counted from the end when negative. */
export function at(streams: Streams, stream: KeptStream, index: number): Stored {
  const stored = streams[stream].at(index);
  if (stored === undefined) throw new RangeError(`no entry ${index} of ${stream}`);
  return stored;
}

export function moved(list: Stored[], from: number, to: number): void {
  list.splice(to, 0, ...list.splice(from, 1));
}
