/**
 * @module The arithmetic of an audit: the recorded shares of one signing, made into signatures again.
 * Plain values in and out, so that it can run on any thread. It is nearly all of an audit's cost.
 */
import { HsmError } from "../../errors.js";
import { fromBase64url, fromHex } from "../../identity/encoding.js";
import {
  combine,
  encodeMessage,
  findQuorum,
  parseSignatureShare,
  verifyShareProof,
  verifySignature,
  type EncodingInput,
  type GroupKey,
  type SignatureShare,
} from "../../scheme/index.js";
import { encodings, hashes } from "../api.js";
import type { SignRequest } from "../../streams/requests.js";

/** What a request asks to be signed. */
export type Terms = Pick<
  SignRequest,
  "key" | "epoch" | "algorithm" | "scheme" | "encoding" | "hash" | "inputs" | "salts"
>;

export interface PartyShares {
  readonly party: number;
  /** One an input, base64url. */
  readonly shares: readonly string[];
  readonly proofs?: readonly string[];
}

export interface SigningJob {
  readonly group: GroupKey;
  readonly terms: Terms;
  /** One of each party. */
  readonly answers: readonly PartyShares[];
  readonly result?: { readonly quorum: readonly number[]; readonly signatures: readonly string[] };
  /** Without it only the recorded signatures are verified. */
  readonly recombine: boolean;
}

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

/** The same job for one of its inputs. */
export function jobOfInput(job: SigningJob, index: number): SigningJob {
  const one = <T>(all: readonly T[] | undefined): T[] => all?.slice(index, index + 1) ?? [];
  const { terms, answers, result, ...rest } = job;
  const { inputs, salts } = terms;
  return {
    ...rest,
    terms: { ...terms, inputs: one(inputs), ...(salts === undefined ? {} : { salts: one(salts) }) },
    answers: answers.map(({ party, shares, proofs }) => ({
      party,
      shares: one(shares),
      ...(proofs === undefined ? {} : { proofs: one(proofs) }),
    })),
    ...(result === undefined ? {} : { result: { ...result, signatures: one(result.signatures) } }),
  };
}

/** Judges the shares and signatures of one signing. */
export function judge(job: SigningJob): Verdict {
  const verdict = new Tally();
  for (const index of job.terms.inputs.keys()) {
    let encoded: Uint8Array;
    try {
      encoded = encodeMessage(job.group, encodingInput(job.terms, index));
      judgeInput(job, index, encoded, verdict);
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      return { ...new Tally().result(), unencodable: error.message };
    }
  }
  return verdict.result();
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
  if (recorded !== undefined && isRecordedQuorum(job, index, encoded, recorded)) {
    tally.valid++;
    tally.recombined++;
    return;
  }
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

/**
 * The usual case, at the least price: the answers are the recorded quorum's, without proofs, and make the
 * recorded signature. Then all is right, and there is nobody to judge.
 */
function isRecordedQuorum(
  { group, result, answers, recombine }: SigningJob,
  index: number,
  encoded: Uint8Array,
  recorded: Uint8Array,
): boolean {
  const parties = new Set(answers.map(({ party }) => party));
  if (!recombine || answers.length !== group.threshold || parties.size < answers.length)
    return false;
  try {
    const received: SignatureShare[] = [];
    for (const { party, shares, proofs } of answers) {
      if (proofs !== undefined || result?.quorum.includes(party) !== true) return false;
      const bytes = fromBase64url(shares[index] ?? "", "share");
      received.push(parseSignatureShare(group, party, bytes));
    }
    return Buffer.compare(combine(group, encoded, received), recorded) === 0;
  } catch (error) {
    if (error instanceof HsmError) return false;
    throw error;
  }
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

function encodingInput({ encoding, hash, inputs, salts }: Terms, index: number): EncodingInput {
  const salt = salts?.[index];
  const known = { encoding: encodings.find(is(encoding)), hash: hashes.find(is(hash)) };
  if (known.encoding === undefined || known.hash !== hash) {
    throw new HsmError("ERR_UNSUPPORTED_MECHANISM", "unknown encoding or hash");
  }
  return {
    encoding: known.encoding,
    ...(known.hash === undefined ? {} : { hash: known.hash }),
    data: fromHex(inputs[index] ?? "", "input"),
    ...(salt === undefined ? {} : { salt: fromHex(salt, "salt") }),
  };
}

function is(wanted: string | undefined): (one: string) => boolean {
  return (one) => one === wanted;
}

/** Undefined for a text that nobody writes; the empty text is no bytes. */
function bytesOf(text: string): Uint8Array | undefined {
  try {
    return fromBase64url(text, "number");
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}
