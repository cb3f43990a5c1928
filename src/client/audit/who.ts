/** @module Who is who in a history: the names that people know keys and sessions by. */
import type { SessionOpened } from "../../streams/audit-events.js";
import type { KeyProposed } from "../../streams/keys.js";
import type { AuditedEvent } from "./audit-items.js";

/** Fed with the events of a replay, in order. A session costs some hundred bytes. */
export class Who {
  readonly #keys = new Map<string, KeyProposed>();
  readonly #sessions = new Map<string, SessionOpened>();

  see({ body }: AuditedEvent): void {
    if (body === undefined || !("type" in body)) return;
    if (body.type === "session-opened") this.#sessions.set(sessionName(body), body);
    // The first proposal of an id is the one that counts.
    if (body.type === "proposed" && !this.#keys.has(body.key)) this.#keys.set(body.key, body);
  }

  key(id: string): KeyProposed | undefined {
    return this.#keys.get(id);
  }

  /** By its modulus, base64url. */
  keyOf(modulus: string): KeyProposed | undefined {
    return [...this.#keys.values()].find((one) => one.modulus === modulus);
  }

  session(of: { readonly client: string; readonly session: string }): SessionOpened | undefined {
    return this.#sessions.get(sessionName(of));
  }

  /** Names of a key's parties; "party 3" where nobody knows. */
  parties(key: string, parties: readonly number[]): string[] {
    const names = this.#keys.get(key)?.parties;
    return parties.map((party) => names?.[party - 1] ?? `party ${party}`);
  }
}

/** Ids of sessions are their clients' own: two clients may use the same one. */
function sessionName({ client, session }: { client: string; session: string }): string {
  return `${client}.${session}`;
}
