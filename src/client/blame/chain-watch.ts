/** @module The nodes' chains, as far as this client sees them: neighbours that do not fit convict their node. */
import type { SignedMessage } from "../../streams/envelope.js";
import { chainVerdict } from "../audit/evidence.js";
import type { Answer } from "../collector.js";
import type { Charge } from "./blame-book.js";

interface Seen {
  readonly n: number;
  readonly prev: string;
  readonly hash: string;
  readonly message: SignedMessage;
}

/** Messages that are remembered of each node. */
const memory = 32;

export class ChainWatch {
  readonly #seen = new Map<string, Map<number, Seen>>();
  readonly #charge: (charge: Charge) => void;

  constructor(charge: (charge: Charge) => void) {
    this.#charge = charge;
  }

  see({ body: { node, n, prev, rid, key, party }, hash, message }: Answer): void {
    let seen = this.#seen.get(node);
    if (seen === undefined) this.#seen.set(node, (seen = new Map()));
    const link: Seen = { n, prev, hash, message };
    const links = [n - 1, n, n + 1].flatMap((number) => seen.get(number) ?? []);
    const verdict = chainVerdict([...links, link], node);
    if (verdict === undefined) {
      seen.set(n, link);
      const [oldest] = seen.keys();
      if (seen.size > memory && oldest !== undefined) seen.delete(oldest);
      return;
    }
    const { guilt: code, text, shown: evidence } = verdict;
    const messages = [...links, link].flatMap((one) =>
      evidence.includes(one.hash) ? [one.message] : [],
    );
    this.#charge({ node, verdict: "culprit", code, text, evidence, messages, rid, key, party });
  }
}
