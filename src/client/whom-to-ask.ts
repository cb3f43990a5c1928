/**
 * @module Whom to ask next. The rule for culprits: one is asked only when those who are not cannot give a
 * quorum any more. Who refused, lied, or beats no more cannot; who is merely late still can.
 */

export interface Choice {
  /** Nodes that may be asked, best first. */
  readonly open: readonly string[];
  /** How many more are wanted now, those who are late not counted. */
  readonly wanted: number;
  /** How many shares are missing for a quorum. */
  readonly missing: number;
  /** How many of those asked before may still give one. */
  readonly hopeful: number;
  readonly isCulprit: (node: string) => boolean;
}

export function whomToAsk({ open, wanted, missing, hopeful, isCulprit }: Choice): string[] {
  const trusted = open.filter((node) => !isCulprit(node)).slice(0, wanted);
  const short = Math.min(wanted, missing - hopeful) - trusted.length;
  return [...trusted, ...open.filter(isCulprit).slice(0, Math.max(0, short))];
}
