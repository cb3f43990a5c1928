/**
 * @module What an audit computes of one signing: the request's terms, the shares, the recorded result. Plain
 * values, so that they can go to any thread.
 */
import { HsmError } from "../../errors.js";
import { fromBase64url, fromHex } from "../../identity/encoding.js";
import { encodeMessage, type EncodingInput, type GroupKey } from "../../scheme/index.js";
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

/** What is signed of each input. @throws HsmError when the request asks for what cannot be signed */
export function encodedInputs({ group, terms }: SigningJob): Uint8Array[] {
  return terms.inputs.map((_, index) => encodeMessage(group, encodingInput(terms, index)));
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
export function bytesOf(text: string): Uint8Array | undefined {
  try {
    return fromBase64url(text, "number");
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}
