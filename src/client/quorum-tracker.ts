/**
 * @module From answers to signatures: range checks, one answer a party, combining the first k,
 * and only when that fails the question who is to blame (DESIGN: verify the signature first).
 */
import { fromBase64url } from "../identity/encoding.js";
import { describeError, HsmError } from "../errors.js";
import {
  combine,
  findQuorum,
  maxQuorumsTried,
  parseSignatureShare,
  type GroupKey,
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
  #isBlameOpen = false;

  /** `encoded`: the encoded messages of all inputs, in order. */
  constructor(group: GroupKey, encoded: readonly Uint8Array[]) {
    this.#group = group;
    this.#encoded = encoded;
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
      this.#good.set(party, { hash, shares });
    } catch (error) {
      this.#accuse(party, hash, describeError(error));
    }
  }

  /**
   * Signatures as soon as some k of the contributors agree on all inputs. A wrong share found on the
   * way is either proven (its party is accused) or, with few shares, only doubtful: colluders'
   * errors can cancel, so who is wrong may take more shares to tell. `isBlameOpen` says so.
   */
  tryCombine(): Combined | undefined {
    this.#isBlameOpen = false;
    while (this.#good.size >= this.#group.threshold) {
      const first = [...this.#good.keys()].slice(0, this.#group.threshold);
      const tried = this.#combineAll(first);
      if ("signatures" in tried) return tried;
      const verdict = this.#judge(tried.failedInput);
      // Nobody agrees with enough others yet: more answers are needed.
      if (verdict === undefined) return undefined;
      if (verdict.culprits.length === 0) {
        this.#isBlameOpen = true;
        const agreed = this.#combineAll(verdict.quorum);
        return "signatures" in agreed ? agreed : this.#search();
      }
    }
    return undefined;
  }

  /** Somebody's share is wrong, and one more party's would say whose. */
  get isBlameOpen(): boolean {
    return this.#isBlameOpen;
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
    const signatures: Uint8Array[] = [];
    for (const [input, encoded] of this.#encoded.entries()) {
      try {
        signatures.push(combine(this.#group, encoded, this.#sharesOf(input, quorum)));
      } catch (error) {
        if (!(error instanceof HsmError) || error.code !== "ERR_COMBINE_FAILED") throw error;
        return { failedInput: input };
      }
    }
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
