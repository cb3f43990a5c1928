/**
 * @module The usual case, at the least price: the answers are the recorded quorum's, without proofs, and make the
 * recorded signatures. Then all is right, and there is nobody to judge.
 */
import { HsmError } from "../../errors.js";
import {
  combineAll,
  parseSignatureShare,
  type GroupKey,
  type SignatureShare,
} from "../../scheme/index.js";
import { bytesOf, type SigningJob } from "./signing-job.js";

/** An input whose recorded signature its quorum's shares should make. */
interface Candidate {
  readonly at: number;
  readonly index: number;
  readonly encoded: Uint8Array;
  readonly shares: readonly SignatureShare[];
  readonly recorded: Uint8Array;
}

/**
 * The inputs of each job that are the usual case. All inputs of a key are combined together, because that
 * shares an inversion. `messages`: what is signed, where there is something.
 */
export function recordedQuorums(
  jobs: readonly SigningJob[],
  messages: readonly (readonly Uint8Array[] | HsmError)[],
): ReadonlySet<number>[] {
  const byGroup = new Map<GroupKey, Candidate[]>();
  for (const [at, job] of jobs.entries()) {
    const encoded = messages[at];
    if (encoded === undefined || encoded instanceof HsmError || !isQuorum(job)) continue;
    const candidates = byGroup.get(job.group) ?? [];
    byGroup.set(job.group, candidates);
    for (const [index, message] of encoded.entries()) {
      const shares = sharesOf(job, index);
      const text = job.result?.signatures[index];
      const recorded = text === undefined ? undefined : bytesOf(text);
      if (shares === undefined || recorded === undefined) continue;
      candidates.push({ at, index, encoded: message, shares, recorded });
    }
  }
  const found = jobs.map(() => new Set<number>());
  for (const [group, candidates] of byGroup) {
    const signatures = combined(group, candidates);
    for (const [i, { at, index, recorded }] of candidates.entries()) {
      const made = signatures[i];
      if (made !== undefined && Buffer.compare(made, recorded) === 0) found[at]?.add(index);
    }
  }
  return found;
}

function isQuorum({ group, result, answers, recombine }: SigningJob): boolean {
  const parties = new Set(answers.map(({ party }) => party));
  return (
    recombine &&
    answers.length === group.threshold &&
    parties.size === answers.length &&
    answers.every(
      ({ party, proofs }) => proofs === undefined && result?.quorum.includes(party) === true,
    )
  );
}

function sharesOf({ group, answers }: SigningJob, index: number): SignatureShare[] | undefined {
  try {
    return answers.map(({ party, shares }) =>
      parseSignatureShare(group, party, bytesOf(shares[index] ?? "") ?? new Uint8Array()),
    );
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}

/** Nothing when one of the messages is out of the modulus' range: then each is looked at by itself. */
function combined(
  group: GroupKey,
  candidates: readonly Candidate[],
): readonly (Uint8Array | undefined)[] {
  try {
    return combineAll(
      group,
      candidates.map(({ encoded }) => encoded),
      candidates.map(({ shares }) => shares),
    );
  } catch (error) {
    if (error instanceof HsmError) return [];
    throw error;
  }
}
