/**
 * @module From answers to signatures: range checks, one answer a party, combining the first k,
 * and only when that fails the question who is to blame (DESIGN: verify the signature first).
 */
import { fromBase64url } from "../identity/encoding.js";
import { describeError, HsmError } from "../errors.js";
import {
  combineAll,
  findQuorum,
  maxQuorumsTried,
  parseSignatureShare,
  verifyShareProof,
  type GroupKey,
  type ProofContext,
  type QuorumResult,
  type SignatureShare,
} from "../scheme/index.js";
import type { Answer } from "./collector.js";

/** Signatures of all inputs by one quorum. */
export interface Combined {
  readonly signatures: readonly Uint8Array[];
  /** Ascending. */
  readonly quorum: readonly number[];
}

/** A share message that is proven wrong: its hash is the evidence. */
export interface Accusation {
  readonly party: number;
  readonly hash: string;
  readonly reason: string;
}

interface Contribution {
  readonly hash: string;
  readonly shares: readonly SignatureShare[];
}

export class QuorumTracker {
  readonly #group: GroupKey;
  readonly #encoded: readonly Uint8Array[];
  readonly #good = new Map<number, Contribution>();
  readonly #accused = new Map<number, Accusation>();
  readonly #proof: ProofContext | undefined;
  #suspects: readonly number[] = [];

  /**
   * `encoded`: the encoded messages of all inputs, in order. With `proof` a share counts only together
   * with a share proof that holds.
   */
  constructor(group: GroupKey, encoded: readonly Uint8Array[], proof?: ProofContext) {
    this.#group = group;
    this.#encoded = encoded;
    this.#proof = proof;
  }

  /** Parties whose shares are well formed and not proven wrong. */
  get contributors(): number {
    return this.#good.size;
  }

  get accusations(): readonly Accusation[] {
    return [...this.#accused.values()];
  }

  hasAnswered(party: number): boolean {
    return this.#good.has(party) || this.#accused.has(party);
  }

  /** Takes an authentic answer with shares; a second one of the same party counts for nothing. */
  add(party: number, { body, hash }: Answer): void {
    if (this.hasAnswered(party)) return;
    try {
      const texts = body.shares ?? [];
      if (texts.length !== this.#encoded.length) {
        throw new HsmError(
          "ERR_INVALID_SIGNATURE_SHARE",
          `expected ${this.#encoded.length} shares, got ${texts.length}`,
        );
      }
      const shares = texts.map((text) =>
        parseSignatureShare(this.#group, party, fromBase64url(text, "share")),
      );
      if (this.#proof !== undefined) this.#requireProofs(shares, body.proofs ?? [], this.#proof);
      this.#good.set(party, { hash, shares });
    } catch (error) {
      this.#accuse(party, hash, describeError(error));
    }
  }

  /**
   * Signatures as soon as some k of the contributors agree on all inputs. A wrong share found on the
   * way is either proven (its party is accused) or, with few shares, only doubtful: colluders'
   * errors can cancel, so who is wrong may take share proofs to tell. `suspects` says so.
   */
  tryCombine(): Combined | undefined {
    this.#suspects = [];
    while (this.#good.size >= this.#group.threshold) {
      const first = [...this.#good.keys()].slice(0, this.#group.threshold);
      const tried = this.#combineAll(first);
      if ("signatures" in tried) return tried;
      const verdict = this.#judge(tried.failedInput);
      // Nobody agrees with enough others yet: more answers are needed.
      if (verdict === undefined) {
        this.#suspects = [...this.#good.keys()];
        return undefined;
      }
      if (verdict.culprits.length === 0) {
        this.#suspects = verdict.suspects;
        const agreed = this.#combineAll(verdict.quorum);
        return "signatures" in agreed ? agreed : this.#search();
      }
    }
    return undefined;
  }

  /** Parties of whom one at least has sent a wrong share, if it is not they who were combined. */
  get suspects(): readonly number[] {
    return this.#suspects;
  }

  /**
   * Colluders whose errors cancel in one quorum for one input, and in another for the next, make
   * every input look good with somebody; some quorum is good for all of them.
   */
  #search(): Combined | undefined {
    let left = maxQuorumsTried;
    for (const quorum of subsets([...this.#good.keys()], this.#group.threshold)) {
      if (left-- === 0) return undefined;
      const tried = this.#combineAll(quorum);
      if ("signatures" in tried) return tried;
    }
    return undefined;
  }

  #combineAll(quorum: readonly number[]): Combined | { readonly failedInput: number } {
    const shares = this.#encoded.map((_, input) => this.#sharesOf(input, quorum));
    const made = combineAll(this.#group, this.#encoded, shares);
    const failedInput = made.indexOf(undefined);
    if (failedInput >= 0) return { failedInput };
    const signatures = made.filter((signature) => signature !== undefined);
    return { signatures, quorum: quorum.toSorted((a, b) => a - b) };
  }

  #judge(input: number): QuorumResult | undefined {
    const encoded = this.#encoded[input];
    if (encoded === undefined) return undefined;
    const shares = this.#sharesOf(input, [...this.#good.keys()]);
    const verdict = findQuorum(this.#group, encoded, shares);
    for (const party of verdict?.culprits ?? []) {
      const hash = this.#good.get(party)?.hash ?? "";
      this.#good.delete(party);
      this.#accuse(party, hash, `the share of input ${input} does not fit the other parties'`);
    }
    return verdict;
  }

  #requireProofs(
    shares: readonly SignatureShare[],
    texts: readonly string[],
    context: ProofContext,
  ): void {
    for (const [input, share] of shares.entries()) {
      const [encoded, text] = [this.#encoded[input], texts[input]];
      const holds =
        encoded !== undefined &&
        text !== undefined &&
        verifyShareProof(this.#group, encoded, share, fromBase64url(text, "proof"), context);
      if (holds) continue;
      throw new HsmError(
        "ERR_INVALID_SIGNATURE_SHARE",
        `the key asks for share proofs, and that of input ${input} ${text === undefined ? "is missing" : "does not hold"}`,
      );
    }
  }

  #sharesOf(input: number, parties: readonly number[]): SignatureShare[] {
    return parties.flatMap((party) => this.#good.get(party)?.shares[input] ?? []);
  }

  #accuse(party: number, hash: string, reason: string): void {
    this.#accused.set(party, { party, hash, reason });
  }
}

function* subsets(items: readonly number[], size: number): Generator<readonly number[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (const [i, item] of items.entries()) {
    for (const rest of subsets(items.slice(i + 1), size - 1)) yield [item, ...rest];
  }
}
