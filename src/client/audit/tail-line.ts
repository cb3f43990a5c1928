/** @module A stored message as one line: when, who, which key, what. */
import { oneLine } from "../one-line.js";
import type { Admitted } from "./admit.js";
import type { FindingFacts } from "./findings.js";
import { namedText } from "./named.js";
import type { KeptStream } from "./sources.js";

/** One stored message. */
export interface TailLine {
  /** When it was stored, by the server's clock. */
  readonly time: string;
  readonly stream: KeptStream;
  readonly seq: number;
  /** "request", "shares", "refusal", "explanation", an event's type, "unknown", or "junk" for what nobody answers for. */
  readonly type: string;
  readonly client?: string;
  readonly application?: string;
  readonly session?: string;
  readonly rid?: string;
  readonly key?: string;
  readonly label?: string;
  /** The node that says it, or of which it is said. */
  readonly node?: string;
  /** Nodes that were asked, or whose shares were combined. */
  readonly nodes?: readonly string[];
  readonly isFailure: boolean;
  /** What happened, for a person. */
  readonly text: string;
}

/** What a message's own words do not say. */
export interface Names {
  readonly label: string | undefined;
  /** By party, from 1. */
  readonly parties: readonly string[];
  readonly application: string | undefined;
}

/** What of a message says whom and what it concerns. */
export interface Concerned {
  readonly client?: string;
  readonly session?: string;
  readonly rid?: string;
  readonly key?: string;
  readonly node?: string;
}

/** A message that its sender answers for. */
export function tailLine(
  stream: KeptStream,
  admitted: Admitted,
  { client, session, rid, key, node }: Concerned,
  names: Names,
): TailLine {
  const { time, seq } = admitted.message;
  const { type, text, isFailure = false, parties } = saying(admitted, names);
  return {
    time,
    stream,
    seq,
    type,
    ...(client === undefined ? {} : { client }),
    ...(names.application === undefined ? {} : { application: names.application }),
    ...(session === undefined ? {} : { session }),
    ...(rid === undefined ? {} : { rid }),
    ...(key === undefined ? {} : { key }),
    ...(names.label === undefined ? {} : { label: names.label }),
    ...(node === undefined ? {} : { node }),
    ...(parties === undefined ? {} : { nodes: namesOf(parties, names) }),
    isFailure,
    text,
  };
}

/** What stands there and is no message of anybody's, with the reason. */
export function junkLine(
  { stream, seq, code, text }: FindingFacts & { readonly stream: KeptStream },
  time: string,
): TailLine {
  const [at = 0] = seq;
  return { time, stream, seq: at, type: "junk", isFailure: true, text: `JUNK (${code}) ${text}` };
}

/** One line for a terminal: whatever a sender wrote into it, it stays one line. */
export function formatTailLine(line: TailLine): string {
  const { time, client, application, key, label, node, text, rid, session } = line;
  const id = key?.slice(0, 8);
  const parts = [
    time.length > 24 ? `${time.slice(0, 23)}Z` : time,
    client,
    application === undefined ? undefined : `(${application})`,
    label === undefined ? id : `${JSON.stringify(label)} ${id}`,
    node === undefined ? undefined : `${node}:`,
    text,
    rid ?? session,
  ];
  return oneLine(parts.filter((part) => part !== undefined).join(" "));
}

interface Saying {
  readonly type: string;
  readonly text: string;
  readonly isFailure?: boolean;
  readonly parties?: readonly number[];
}

function saying(admitted: Admitted, names: Names): Saying {
  if (admitted.kind === "request") {
    const { kind, encoding, hash, inputs, parties, attempt } = admitted.body;
    const what = [kind, encoding, hash].filter(Boolean).join(" ");
    const again = attempt > 1 ? `, attempt ${attempt}` : "";
    const asked = namesOf(parties, names).join(",");
    return { type: "request", text: `asks ${asked}: ${what} x${inputs.length}${again}`, parties };
  }
  if (admitted.kind === "share") {
    const { kind, code, reason, shares = [] } = admitted.body;
    return kind === "refusal"
      ? { type: kind, text: `REFUSES, ${code}: ${reason}`, isFailure: true }
      : { type: kind, text: `answers with ${kind} x${shares.length}` };
  }
  if (admitted.kind === "unknown") {
    return { type: "unknown", text: `an event of a later version on ${admitted.message.subject}` };
  }
  const { body } = admitted;
  const { type } = body;
  switch (type) {
    case "session-opened":
      return { type, text: `opens a session on token ${body.token}` };
    case "session-closed":
      return { type, text: `closes its session after ${body.requests} requests` };
    case "result": {
      const { quorum: parties, elapsedMs } = body;
      const named = namedText(body);
      const text = `signed by ${namesOf(parties, names).join(",")} in ${elapsedMs} ms${named}`;
      return { type, text, isFailure: named !== "", parties };
    }
    case "failure":
      return { type, text: `FAILED, ${body.code}: ${body.reason}`, isFailure: true };
    case "misbehaviour":
      return {
        type,
        text: `MISBEHAVES, ${body.verdict}, ${body.code}: ${body.text}`,
        isFailure: body.verdict !== "withdrawn",
      };
    case "node-cleared":
      return { type, text: `cleared by operator ${body.operator}: ${body.reason ?? "no reason"}` };
    case "rotated":
      return { type, text: `let go by operator ${body.operator}: ${body.letGo.join(", ")}` };
    case "ignored":
      return { type, text: `IGNORED ${body.counts.join(", ")}`, isFailure: true };
    case "inconsistent":
      return { type, text: `SEES ANOTHER HISTORY at ${body.seq}: ${body.reason}`, isFailure: true };
    case "checkpoint":
      return { type, text: `vouches for ${body.size} requests` };
    case "rejected":
      return { type, text: `key REJECTED, ${body.code}: ${body.reason}`, isFailure: true };
    case "abandoned":
      return { type, text: `key ABANDONED: ${body.reason}`, isFailure: true };
    case "proposed":
    case "ready":
    case "accepted":
    case "activated":
    case "relabelled":
    case "destroyed":
    case "erased":
      return { type, text: `key ${type}` };
    case "node-started":
    case "object-stored":
    case "object-relabelled":
    case "object-removed":
      return { type, text: type.replace("-", " ") };
  }
}

function namesOf(parties: readonly number[], names: Names): string[] {
  return parties.map((party) => names.parties[party - 1] ?? `party ${party}`);
}
