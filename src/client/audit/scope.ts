/**
 * @module What of a history somebody wants to know. A scope narrows what is told and which signatures are
 * verified, never what is read: chains, sessions and keys are whole or not, whatever the question.
 */
import type { FindingFacts } from "./findings.js";
import type { Signing } from "./signing.js";

export interface AuditScope {
  /** Times by the senders' clocks, as `Date.parse` takes them, both included. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** A session's id. */
  readonly session?: string;
  /** A key's id. */
  readonly key?: string;
  /** Ids of requests, their escalations' too. What is found of no request in particular is told all the same. */
  readonly requests?: ReadonlySet<string>;
}

/** Whether a finding, or an event, is to be told. What cannot be said to lie outside is. */
export function isInScope(
  scope: AuditScope | undefined,
  facts: Pick<FindingFacts, "key" | "session" | "rid" | "time">,
): boolean {
  if (scope === undefined) return true;
  if (isOther(scope.key, facts.key) || isOther(scope.session, facts.session)) return false;
  if (facts.rid !== undefined && scope.requests?.has(facts.rid) === false) return false;
  return facts.time === undefined || isWithin(scope, facts.time);
}

/** Whether a signing's signatures are to be verified. Its time is when it was closed, or expired. */
export function isSigningInScope(
  scope: AuditScope | undefined,
  { attempts: [first], closing }: Signing,
): boolean {
  if (scope === undefined || first === undefined) return true;
  const { key, session, expires, rid } = first.body;
  return (
    (scope.requests?.has(rid) ?? true) &&
    (scope.key ?? key) === key &&
    (scope.session ?? session) === session &&
    isWithin(scope, closing?.body.time ?? expires)
  );
}

function isWithin({ sinceMs = -Infinity, untilMs = Infinity }: AuditScope, time: string): boolean {
  const at = Date.parse(time);
  return sinceMs <= at && at <= untilMs;
}

function isOther(wanted: string | undefined, found: string | undefined): boolean {
  return wanted !== undefined && found !== undefined && wanted !== found;
}
