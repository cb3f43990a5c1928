/** @module The objects on each token, as their events tell: one rule for clients and auditors. */
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { ObjectStored, type TokenObjectEvent } from "./objects.js";

/** Objects on one token at most. */
export const maxObjects = 1000;

export class TokenObjects {
  readonly #cluster: Pick<Cluster, "mayUse">;
  readonly #objects = new Map<string, ObjectStored>();
  /** Ids of objects that are gone: none comes back. */
  readonly #gone = new Set<string>();

  constructor(cluster: Pick<Cluster, "mayUse">) {
    this.#cluster = cluster;
  }

  get(object: string): ObjectStored | undefined {
    return this.#objects.get(object);
  }

  /** In the order of their storing. */
  of(token: string): ObjectStored[] {
    return [...this.#objects.values()].filter((one) => one.token === token);
  }

  /** @throws HsmError `ERR_UNKNOWN_SENDER`, `ERR_CONFLICT` for an event that changes nothing */
  take(event: TokenObjectEvent): void {
    const { object, token, client } = event;
    if (!this.#cluster.mayUse(client, token)) {
      throw new HsmError("ERR_UNKNOWN_SENDER", `${client} may not use token ${token}`);
    }
    const before = this.#objects.get(object);
    if (event.type === "object-stored") {
      if (before !== undefined || this.#gone.has(object)) throw conflict(event, "the id is taken");
      if (this.of(token).length >= maxObjects)
        throw conflict(event, `it is one more than ${maxObjects}`);
      this.#objects.set(object, event);
      return;
    }
    if (before?.token !== token) throw conflict(event, "there is no such object");
    if (event.type === "object-removed") {
      this.#objects.delete(object);
      this.#gone.add(object);
      return;
    }
    const { label = before.label, id = before.id } = event;
    this.#objects.set(object, Object.assign(new ObjectStored(), before, { label, id }));
  }
}

function conflict({ type, object }: TokenObjectEvent, reason: string): HsmError {
  return new HsmError("ERR_CONFLICT", `${type} of ${object}: ${reason}`);
}
