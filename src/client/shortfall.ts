/** @module Why there is no quorum: every node's part in it, in one error that an operator can act on. */
import { HsmError, QuorumError } from "../errors.js";

/** A node's signed refusal. */
export interface Refusal {
  readonly code: string;
  readonly reason: string;
}

export interface Shortfall {
  readonly threshold: number;
  /** Parties that hold a share of the key, and all that the key was dealt to. */
  readonly holders: number;
  readonly parties: number;
  /** Parties whose shares count. */
  readonly contributors: number;
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** By node: whose share was wrong, who said nothing, whom nobody asked. */
  readonly wrong: readonly string[];
  readonly silent: readonly string[];
  readonly notAsked: readonly string[];
  readonly waitedMs: number;
}

/** The nodes' own reason when so many refused that no quorum is left without them, else who did what. */
export function shortfallError(shortfall: Shortfall): HsmError {
  const { threshold, holders, refusals } = shortfall;
  const given = [...refusals.values()];
  const code = mostFrequent(given.map((one) => one.code));
  const known = refusalCodes.find((one) => one === code);
  if (known === undefined || holders - refusals.size >= threshold) return quorumError(shortfall);
  const { reason } = given.find((one) => one.code === code) ?? {};
  return new HsmError(known, `the nodes refused: ${reason}`);
}

export function quorumError(shortfall: Shortfall): QuorumError {
  const { threshold, parties, contributors, refusals, waitedMs } = shortfall;
  const answers: Record<string, string> = {};
  for (const [node, { code }] of refusals) answers[node] = code;
  for (const node of shortfall.wrong) answers[node] = "wrong share";
  for (const node of shortfall.silent) answers[node] = "silent";
  for (const node of shortfall.notAsked) answers[node] = "not asked";
  const seconds = Math.round(waitedMs / 100) / 10;
  const each = Object.entries(answers).map(([node, answer]) => `${node}: ${answer}`);
  const expired = [...refusals].find(([, { code }]) => code === "ERR_EXPIRED");
  return new QuorumError(
    answers,
    `${contributors} of ${parties} nodes signed in ${seconds} s, ${threshold} are needed (${each.join(", ")})` +
      (expired === undefined ? "" : `; ${expired[0]} says: ${expired[1].reason}`),
  );
}

/** Refusals that say something to the application. */
const refusalCodes = [
  "ERR_REFUSED_BY_POLICY",
  "ERR_RATE_LIMITED",
  "ERR_UNSUPPORTED_MECHANISM",
  "ERR_UNKNOWN_KEY",
  "ERR_KEY_NOT_ACTIVE",
  "ERR_EXPIRED",
  "ERR_INVALID_ARGUMENT",
  "ERR_AUDIT_MISMATCH",
] as const;

function mostFrequent(codes: readonly string[]): string | undefined {
  const count = (code: string): number => codes.filter((one) => one === code).length;
  return codes.toSorted((a, b) => count(b) - count(a))[0];
}
