/**
 * @module From answers to signatures: range checks, one answer a party, combining the first k,
 * and only when that fails the question who is to blame (DESIGN: verify the signature first).
 */
import { fromBase64url } from "../identity/encoding.js";
import { describeError, HsmError } from "../errors.js";
import {
  combine,
  findQuorum,
  parseSignatureShare,
  type GroupKey,
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

  /** Signatures as soon as some k of the contributors agree on all inputs. */
  tryCombine(): Combined | undefined {
    while (this.#good.size >= this.#group.threshold) {
      const quorum = [...this.#good.keys()].slice(0, this.#group.threshold);
      const failed = this.#combineAll(quorum);
      if (!Array.isArray(failed)) return failed;
      const culprits = failed.flatMap((input) => this.#blame(input));
      // Nobody is proven wrong yet: more answers are needed to tell.
      if (culprits.length === 0) return undefined;
    }
    return undefined;
  }

  /** The signatures, or the inputs on which this quorum failed. */
  #combineAll(quorum: readonly number[]): Combined | number[] {
    const signatures: Uint8Array[] = [];
    const failed: number[] = [];
    for (const [input, encoded] of this.#encoded.entries()) {
      try {
        signatures.push(combine(this.#group, encoded, this.#sharesOf(input, quorum)));
      } catch (error) {
        if (!(error instanceof HsmError) || error.code !== "ERR_COMBINE_FAILED") throw error;
        failed.push(input);
      }
    }
    if (failed.length > 0) return failed;
    return { signatures, quorum: quorum.toSorted((a, b) => a - b) };
  }

  #blame(input: number): number[] {
    const encoded = this.#encoded[input];
    if (encoded === undefined) return [];
    const found = findQuorum(this.#group, encoded, this.#sharesOf(input, [...this.#good.keys()]));
    for (const party of found?.culprits ?? []) {
      const hash = this.#good.get(party)?.hash ?? "";
      this.#good.delete(party);
      this.#accuse(party, hash, `the share of input ${input} does not fit the other parties'`);
    }
    return [...(found?.culprits ?? [])];
  }

  #sharesOf(input: number, parties: readonly number[]): SignatureShare[] {
    return parties.flatMap((party) => this.#good.get(party)?.shares[input] ?? []);
  }

  #accuse(party: number, hash: string, reason: string): void {
    this.#accused.set(party, { party, hash, reason });
  }
}
