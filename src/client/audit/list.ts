/** @module Every signing of a history, each as one line. */
import { oneLine } from "../one-line.js";
import type { Cluster } from "../../identity/cluster.js";
import type { SigningResult } from "../../streams/audit-events.js";
import type { Finding } from "./findings.js";
import type { Verdict } from "./recombine.js";
import { namedText } from "./named.js";
import { isSigningInScope } from "./scope.js";
import type { Signing } from "./signing.js";
import type { HistorySource } from "./sources.js";
import { replayHistory, type VerifyOptions } from "./verify.js";
import { Who } from "./who.js";

/** One signing. */
export interface SigningLine {
  /** When it ended, by its client's clock; when it expired, if it has no end. */
  readonly time: string;
  readonly client: string;
  readonly application?: string;
  readonly session: string;
  readonly rid: string;
  /** Where THSM_REQ has its first request. */
  readonly seq: number;
  readonly key: string;
  readonly label: string;
  readonly kind: string;
  readonly encoding: string;
  readonly hash?: string;
  readonly inputs: number;
  readonly attempts: number;
  /** Nodes that were asked, in the order in which they were. */
  readonly asked: readonly string[];
  /** Nodes whose shares were combined. */
  readonly quorum: readonly string[];
  readonly outcome: "signed" | "failed" | "open" | "wrong";
  readonly code?: string;
  readonly elapsedMs?: number;
  /** Nodes that its client says to have found out over it. */
  readonly culprits?: readonly string[];
  readonly suspects?: readonly string[];
}

export interface ListFilter {
  readonly client?: string;
  /** A node that was asked. */
  readonly node?: string;
  /** Only what did not end with signatures that verify. */
  readonly failures?: boolean;
}

export type ListItem =
  | { readonly type: "signing"; readonly line: SigningLine }
  | { readonly type: "finding"; readonly finding: Finding };

/** Signings about in the order of their ends; findings as `verifyHistory` tells them. */
export async function* listSignings(
  source: HistorySource,
  cluster: Cluster,
  { client, node, failures, ...options }: VerifyOptions & ListFilter = {},
): AsyncGenerator<ListItem> {
  const who = new Who();
  const replayed = replayHistory(source, cluster, { ...options, events: true, signings: true });
  for await (const item of replayed) {
    if (item.type === "event") who.see(item.event);
    else if (item.type === "finding") yield item;
    // The tests of keys are judged whatever is asked for.
    else if (isSigningInScope(options.scope, item.signing)) {
      const line = lineOf(item.signing, item.verdict, who);
      if (line === undefined || line.client !== (client ?? line.client)) continue;
      if (node !== undefined && !line.asked.includes(node)) continue;
      if (failures !== true || line.outcome !== "signed") yield { type: "signing", line };
    }
  }
}

/** One line for a terminal, whatever its senders wrote. */
export function formatSigningLine(line: SigningLine): string {
  const { time, client, label, key, kind, encoding, hash, inputs, asked, quorum, attempts } = line;
  const ended = {
    signed: `signed by ${quorum.join(",")}${line.elapsedMs === undefined ? "" : ` in ${line.elapsedMs} ms`}`,
    failed: `FAILED ${line.code}`,
    open: `no end recorded, asked ${asked.join(",")}`,
    wrong: `WRONG SIGNATURE by ${quorum.join(",")}`,
  }[line.outcome];
  const what = [kind === "sign" ? undefined : kind, encoding, hash].filter(Boolean).join(" ");
  const more = attempts > 1 ? `, ${attempts} attempts` : "";
  const program = line.application === undefined ? "" : ` (${line.application})`;
  const text = `${time} ${client}${program} ${JSON.stringify(label)} ${key.slice(0, 8)} ${what} x${inputs}: ${ended}${more}${namedText(line)} ${line.rid}`;
  return oneLine(text);
}

function lineOf(
  { attempts, closing }: Signing,
  verdict: Verdict | undefined,
  who: Who,
): SigningLine | undefined {
  const [first] = attempts;
  if (first === undefined) return undefined;
  const { client, session, rid, key, kind, encoding, hash, inputs, expires } = first.body;
  const body = closing?.body;
  const result = body?.type === "result" ? body : undefined;
  const application = who.session(first.body)?.application;
  const asked = attempts.flatMap((attempt) => who.parties(key, attempt.body.parties));
  // The test of a key has no event that ends it: its signature is what its shares make.
  const isTested = kind !== "sign" && verdict?.valid === inputs.length;
  const isRight = verdict !== undefined && verdict.wrongSignatures.length === 0;
  const closed = result === undefined ? "failed" : isRight ? "signed" : "wrong";
  return {
    time: body?.time ?? expires,
    client,
    ...(application === undefined ? {} : { application }),
    session,
    rid,
    seq: first.seq,
    key,
    label: who.key(key)?.label ?? "",
    kind,
    encoding,
    ...(hash === undefined ? {} : { hash }),
    inputs: inputs.length,
    attempts: attempts.length,
    asked: [...new Set(asked)],
    quorum: result === undefined ? [] : who.parties(key, result.quorum),
    outcome: body === undefined ? (isTested ? "signed" : "open") : closed,
    ...(body?.type === "failure" ? { code: body.code } : {}),
    ...(result === undefined ? {} : saidBy(result)),
  };
}

function saidBy({
  elapsedMs,
  culprits,
  suspects,
}: SigningResult): Pick<SigningLine, "elapsedMs" | "culprits" | "suspects"> {
  return {
    elapsedMs,
    ...(culprits === undefined ? {} : { culprits }),
    ...(suspects === undefined ? {} : { suspects }),
  };
}
