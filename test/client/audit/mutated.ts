/** @module A history to be mutated, and all that an audit makes of what became of it. */
import { inspect } from "node:util";
import type { Finding, FindingCode } from "../../../src/client/audit/findings.js";
import { KeyHistory } from "../../../src/client/audit/key-history.js";
import type { Mark } from "../../../src/client/audit/positions.js";
import type { Verdict } from "../../../src/client/audit/recombine.js";
import type { Signing } from "../../../src/client/audit/signing.js";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import { replayHistory, type VerifyOptions } from "../../../src/client/audit/verify.js";
import type { StoredMessage } from "../../../src/streams/envelope.js";
import { readKeyEvent } from "../../../src/streams/open.js";
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

/** All that was verified, without the places that the server gave it; each list sorted. */
export interface Facts {
  /** Hashes, each once. */
  readonly messages: readonly string[];
  /** With their verdicts. */
  readonly signings: readonly string[];
  /** The state that each key is in. */
  readonly keys: readonly string[];
}

export interface Outcome {
  readonly codes: readonly FindingCode[];
  /** Who is said to have done what. */
  readonly findings: readonly string[];
  readonly facts: Facts;
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
  const findings: Finding[] = [];
  const messages: StoredMessage[] = [];
  const signings: string[] = [];
  for await (const item of run) {
    if (item.type === "event") messages.push(item.event.message);
    else if (item.type === "signing") signings.push(tellSigning(item.signing, item.verdict));
    else if (item.finding.severity === "finding") findings.push(item.finding);
  }
  const told = findings.map(({ code, node, client, key, rid }) =>
    JSON.stringify([code, node, client, key, rid]),
  );
  return {
    codes: [...new Set(findings.map(({ code }) => code))].toSorted(),
    findings: told.toSorted(),
    facts: {
      messages: [...new Set(messages.map(({ hash }) => hash))].toSorted(),
      signings: signings.toSorted(),
      keys: keysOf(messages),
    },
    mark,
  };
}

function tellSigning(
  { attempts, answers, closing }: Signing,
  verdict: Verdict | undefined,
): string {
  const answered = answers.map(({ hash }) => hash).toSorted();
  return JSON.stringify([attempts.map(({ hash }) => hash), answered, closing?.hash, verdict]);
}

function keysOf(messages: readonly StoredMessage[]): string[] {
  const keys = new KeyHistory(history.cluster, () => undefined);
  const ids = new Set<string>();
  for (const message of messages) {
    if (message.stream !== "THSM_KEY") continue;
    const body = readKeyEvent(message);
    if (body === undefined) continue;
    keys.add({ message, body });
    ids.add(body.key);
  }
  return [...ids].toSorted().map((id) => inspect(keys.life(id), { depth: null, sorted: true }));
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
