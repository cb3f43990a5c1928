/** @module The client's identity key in memory: there only between unlock and lock. */
import { HsmError } from "../errors.js";
import type { IdentityFile } from "../identity/identity-file.js";
import type { IdentityKey } from "../identity/identity-key.js";

export class IdentityLock {
  readonly #file: IdentityFile;
  #key: IdentityKey | undefined;

  /** A file without PIN is open from the start. */
  constructor(file: IdentityFile) {
    this.#file = file;
    if (!file.pinProtected) this.#key = file.openUnprotected();
  }

  get isOpen(): boolean {
    return this.#key !== undefined;
  }

  /** @throws HsmError `ERR_WRONG_PIN` */
  async open(pin: string): Promise<Uint8Array> {
    const { key, ticket } = await this.#file.open(pin);
    this.#key = key;
    return ticket;
  }

  /** @throws HsmError `ERR_WRONG_PIN` */
  openWithTicket(ticket: Uint8Array): void {
    this.#key = this.#file.openWithTicket(ticket);
  }

  close(): void {
    if (this.#file.pinProtected) this.#key = undefined;
  }

  /** @throws HsmError `ERR_NOT_LOGGED_IN` */
  require(): IdentityKey {
    if (this.#key === undefined) {
      throw new HsmError("ERR_NOT_LOGGED_IN", "the identity key is locked: log in with the PIN");
    }
    return this.#key;
  }
}
