/**
 * @module The arithmetic of an audit: recorded shares, made into signatures again. Plain values in and out, so
 * that it can run on any thread. It is nearly all of an audit's cost.
 */
import { HsmError } from "../../errors.js";
import {
  findQuorum,
  parseSignatureShare,
  verifyShareProof,
  verifySignature,
  type SignatureShare,
} from "../../scheme/index.js";
import { recordedQuorums } from "./recorded-quorum.js";
import { bytesOf, encodedInputs, type SigningJob } from "./signing-job.js";

/** What came out. Lists are party indices without repeats. */
export interface Verdict {
  /** Why no encoded message can be made of the request; the rest is then empty. */
  readonly unencodable?: string;
  /** Signatures that verify under the public key: recorded ones, or recombined where none are. */
  readonly valid: number;
  /** Signatures that were made again from the shares. */
  readonly recombined: number;
  /** Recorded signatures that do not verify: input numbers from 1. */
  readonly wrongSignatures: readonly number[];
  /** Inputs for which not the recorded quorum, but another one, makes the signature. */
  readonly otherQuorum: readonly number[];
  /** Inputs of whose shares no k make a signature, though k are there. */
  readonly inconsistent: readonly number[];
  readonly culprits: readonly number[];
  readonly suspects: readonly number[];
  readonly wrongProofs: readonly number[];
}

/** Judges the shares and signatures of one signing. */
export function judge(job: SigningJob): Verdict {
  const [verdict = new Tally().result()] = judgeAll([job]);
  return verdict;
}

/** `judge` for several signings: what is in order is cheaper together, what is not changes no other's verdict. */
export function judgeAll(jobs: readonly SigningJob[]): Verdict[] {
  const messages = jobs.map((job) => unlessRefused(() => encodedInputs(job)));
  const inOrder = recordedQuorums(jobs, messages);
  return jobs.map((job, at) => {
    const encoded = messages[at];
    if (encoded === undefined || encoded instanceof HsmError) return unencodable(encoded);
    const tally = new Tally();
    const refused = unlessRefused(() => {
      for (const [index, message] of encoded.entries()) {
        if (inOrder[at]?.has(index) === true) tally.isRight();
        else judgeInput(job, index, message, tally);
      }
    });
    return refused instanceof HsmError ? unencodable(refused) : tally.result();
  });
}

function unencodable(error: HsmError | undefined): Verdict {
  return { ...new Tally().result(), unencodable: error?.message ?? "" };
}

function unlessRefused<T>(of: () => T): T | HsmError {
  try {
    return of();
  } catch (error) {
    if (error instanceof HsmError) return error;
    throw error;
  }
}

class Tally {
  valid = 0;
  recombined = 0;
  readonly wrongSignatures = new Set<number>();
  readonly otherQuorum = new Set<number>();
  readonly inconsistent = new Set<number>();
  readonly culprits = new Set<number>();
  readonly suspects = new Set<number>();
  readonly wrongProofs = new Set<number>();

  isRight(): void {
    this.valid++;
    this.recombined++;
  }

  result(): Verdict {
    return {
      valid: this.valid,
      recombined: this.recombined,
      wrongSignatures: [...this.wrongSignatures],
      otherQuorum: [...this.otherQuorum],
      inconsistent: [...this.inconsistent],
      culprits: [...this.culprits],
      suspects: [...this.suspects],
      wrongProofs: [...this.wrongProofs],
    };
  }
}

function judgeInput(job: SigningJob, index: number, encoded: Uint8Array, tally: Tally): void {
  const { group, result } = job;
  const text = result?.signatures[index];
  const recorded = text === undefined ? undefined : bytesOf(text);
  const isValid = recorded !== undefined && verifySignature(group, encoded, recorded);
  if (isValid) tally.valid++;
  else if (result !== undefined) tally.wrongSignatures.add(index + 1);
  if (!job.recombine) return;

  const shares = sharesOf(job, index, encoded, tally);
  const wanted = result?.quorum ?? [];
  // The recorded quorum comes first, and is the one that is tried first.
  const inOrder = shares.toSorted(
    (one, other) => Number(wanted.includes(other.index)) - Number(wanted.includes(one.index)),
  );
  const found = findQuorum(group, encoded, inOrder);
  if (found === undefined) {
    if (shares.length >= group.threshold) tally.inconsistent.add(index + 1);
    return;
  }
  tally.recombined++;
  for (const party of found.culprits) tally.culprits.add(party);
  for (const party of found.suspects) tally.suspects.add(party);
  if (result === undefined) {
    tally.valid++;
    return;
  }
  // Not compared with the recorded signature: y^e = x has one solution below N, so a valid one is this one.
  if (!found.quorum.every((party) => wanted.includes(party))) tally.otherQuorum.add(index + 1);
}

function sharesOf(
  { group, terms, answers }: SigningJob,
  index: number,
  encoded: Uint8Array,
  tally: Tally,
): SignatureShare[] {
  return answers.flatMap(({ party, shares, proofs }) => {
    const bytes = bytesOf(shares[index] ?? "");
    let share: SignatureShare;
    try {
      share = parseSignatureShare(group, party, bytes ?? new Uint8Array());
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      tally.culprits.add(party);
      return [];
    }
    const proof = bytesOf(proofs?.[index] ?? "");
    const context = { keyId: terms.key, epoch: terms.epoch };
    const isProven = proof !== undefined && verifyShareProof(group, encoded, share, proof, context);
    if (proofs !== undefined && !isProven) tally.wrongProofs.add(party);
    return [share];
  });
}
