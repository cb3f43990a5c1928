/** @module All hash chains of a history, by who signs them. */
import type { StoredMessage } from "../../streams/envelope.js";
import type { ChainLink, ChainOwner } from "./admit.js";
import type { ChainHead } from "./audit-items.js";
import { Chain } from "./chain.js";
import type { Report } from "./findings.js";

export class Chains {
  readonly #report: Report;
  readonly #chains = new Map<string, { readonly owner: ChainOwner; readonly chain: Chain }>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** @see Chain.add */
  add(link: ChainLink, message: StoredMessage): ReturnType<Chain["add"]> {
    const { owner } = link;
    let known = this.#chains.get(owner.name);
    if (known === undefined) {
      known = { owner, chain: new Chain(owner, this.#report) };
      this.#chains.set(owner.name, known);
    }
    return known.chain.add(link, message);
  }

  /** Reports what is missing; returns where the nodes' chains end, by name. */
  finish(): ChainHead[] {
    const heads: ChainHead[] = [];
    for (const { owner, chain } of this.#chains.values()) {
      const end = chain.finish();
      if (end !== undefined && "node" in owner.whose) {
        heads.push({ node: owner.whose.node, ...end });
      }
    }
    return heads.toSorted((one, other) => (one.node < other.node ? -1 : 1));
  }
}
