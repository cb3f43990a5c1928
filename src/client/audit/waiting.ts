/**
 * @module What came before the request that it names waits here, by that request. A node or client that makes up
 * requests must not fill the memory: what has waited longest goes first.
 */
import type { SigningFailure, SigningResult } from "../../streams/audit-events.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { Read } from "./admit.js";

export type Waiting =
  | ({ readonly kind: "request" } & Read<SignRequest>)
  | ({ readonly kind: "share" } & Read<ShareMessage>)
  | ({ readonly kind: "closing" } & Read<SigningResult | SigningFailure>);

export class WaitingRoom {
  /** By the name of the request that is waited for, the oldest first. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #limit: number;
  #inputs = 0;

  /** `limit`: inputs that what waits may have together. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  add(name: string, waiting: Waiting): void {
    const others = this.#waiting.get(name);
    if (others === undefined) this.#waiting.set(name, [waiting]);
    else others.push(waiting);
    this.#inputs += inputsOf(waiting);
  }

  /** What waits for a request; it waits no more. */
  take(name: string): Waiting[] {
    const taken = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const one of taken) this.#inputs -= inputsOf(one);
    return taken;
  }

  /** What has waited longest, when there is no room for all; nothing when there is. */
  takeOverflow(): Waiting[] {
    const [oldest] = this.#waiting.keys();
    return oldest === undefined || this.#inputs <= this.#limit ? [] : this.take(oldest);
  }

  all(): Waiting[] {
    return [...this.#waiting.values()].flat();
  }
}

/** At least 1: what has none takes room too. */
function inputsOf({ kind, body }: Waiting): number {
  if (kind === "request") return body.inputs.length;
  if (kind === "share") return body.shares?.length ?? 1;
  return body.type === "result" ? body.signatures.length : 1;
}
