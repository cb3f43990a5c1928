/**
 * @module The client's identity key in memory: there only between unlock and lock. The file is read
 * anew each time, because the command line may have changed the PIN meanwhile.
 */
import { HsmError } from "../errors.js";
import { readIdentityFile, type IdentityFile } from "../identity/identity-file.js";
import type { IdentityKey } from "../identity/identity-key.js";
import { PinAttempts, type PinState } from "../identity/pin-attempts.js";

export interface IdentityLockOptions {
  readonly identityFile: string;
  /** Default `<identityFile>.attempts`. */
  readonly pinAttemptsFile?: string | undefined;
  readonly pinAttemptsMax: number;
}

export class IdentityLock {
  readonly #path: string;
  /** As it was at the start; its key is this client's for good. */
  readonly #file: IdentityFile;
  readonly #attempts: PinAttempts;
  #key: IdentityKey | undefined;

  private constructor(options: IdentityLockOptions, file: IdentityFile) {
    const { identityFile, pinAttemptsFile = `${identityFile}.attempts`, pinAttemptsMax } = options;
    this.#path = identityFile;
    this.#file = file;
    this.#attempts = new PinAttempts(pinAttemptsFile, identityFile, pinAttemptsMax);
    if (!file.pinProtected) this.#key = file.openUnprotected();
  }

  /**
   * A file without PIN is open from the start.
   * @throws HsmError `ERR_INVALID_CONFIG`, `ERR_UNTRUSTED_FILE`
   */
  static async of(options: IdentityLockOptions): Promise<IdentityLock> {
    return new IdentityLock(options, await readIdentityFile(options.identityFile));
  }

  /** Names the key. */
  get keyId(): string {
    return this.#file.publicKey.keyId;
  }

  get isOpen(): boolean {
    return this.#key !== undefined;
  }

  pinState(): Promise<PinState> {
    return this.#attempts.state();
  }

  /** @throws HsmError `ERR_PIN_LOCKED`; WrongPinError */
  async open(pin: string): Promise<Uint8Array> {
    return await this.#attempts.count(async () => {
      const { key, ticket } = await (await this.#read()).open(pin);
      this.#key = key;
      return ticket;
    });
  }

  /** Also while the PIN is locked: who has the ticket knew the PIN. @throws HsmError `ERR_WRONG_PIN` */
  async openWithTicket(ticket: Uint8Array): Promise<void> {
    this.#key = (await this.#read()).openWithTicket(ticket);
  }

  /** Returns the new PIN's ticket. @throws HsmError as `open`, and `ERR_INVALID_ARGUMENT` */
  async changePin(oldPin: string, newPin: string): Promise<Uint8Array> {
    return await this.#attempts.count(async () => (await this.#read()).changePin(oldPin, newPin));
  }

  /**
   * Nobody guesses 150 random bits, so wrong ones are not counted; one at a time, as each costs what a PIN does.
   * @throws HsmError `ERR_WRONG_PIN`, `ERR_INVALID_ARGUMENT` for an identity without one
   */
  async checkRecoveryCode(recoveryCode: string): Promise<void> {
    await this.#attempts.uncounted(async () =>
      (await this.#read()).checkRecoveryCode(recoveryCode),
    );
  }

  /** @throws HsmError `ERR_WRONG_PIN` for a wrong code, `ERR_INVALID_ARGUMENT` */
  async resetPin(recoveryCode: string, newPin: string): Promise<Uint8Array> {
    return await this.#attempts.reset(async () =>
      (await this.#read()).resetPin(recoveryCode, newPin),
    );
  }

  /** Forgets the wrong PINs. For who may write the file, and could as well remove it. */
  async forgiveWrongPins(): Promise<void> {
    await this.#attempts.reset(() => Promise.resolve());
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

  async #read(): Promise<IdentityFile> {
    const file = await readIdentityFile(this.#path);
    if (!file.pinProtected) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `${this.#path} has no PIN`);
    }
    if (file.publicKey.text === this.#file.publicKey.text) return file;
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `${this.#path} holds another identity than at the start: restart this process`,
    );
  }
}
