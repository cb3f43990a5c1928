/**
 * @module Counts wrong PINs, in a file beside the identity that all processes share: the daemon and
 * the command line. An attempt is counted durably before it is made, so a process that is killed
 * has used it up. It stops guessing through a process that holds the identity file; whoever can read
 * the file itself guesses at scrypt's pace, and can put this one back.
 */
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Equals, IsInt, Max, Min } from "class-validator";
import { HsmError, WrongPinError } from "../errors.js";
import { parseJson, validated } from "../validate.js";
import { lockDirectory, type Release } from "./process-lock.js";
import { isMissing, readSecretFile, writeSecretFile } from "./secret-file.js";

/** Before the second wrong PIN in a row is answered; doubled with each further one. */
const firstDelayMs = 250;
const maxDelayMs = 8000;
/** Longer than all attempts that can be waiting at once take. */
const lockMs = 120_000;
const pollMs = 20;

class AttemptsFile {
  @Equals(1) readonly version: number = 1;
  /** Attempts since the last right PIN. */
  @IsInt() @Min(0) @Max(1_000_000) readonly wrong: number = 0;
}

export interface PinState {
  /** Wrong PINs since the last right one. */
  readonly wrong: number;
  /** How many more may be wrong until the PIN is locked; 0: it is. */
  readonly left: number;
}

export class PinAttempts {
  readonly #path: string;
  readonly #identityFile: string;
  readonly #limit: number;
  /** The attempts of this process, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param limit so many wrong PINs in a row lock it */
  constructor(path: string, identityFile: string, limit: number) {
    this.#path = path;
    this.#identityFile = identityFile;
    this.#limit = limit;
  }

  async state(): Promise<PinState> {
    const wrong = await this.#read();
    return { wrong, left: Math.max(0, this.#limit - wrong) };
  }

  /**
   * Makes an attempt, one at a time on this host. `attempt` throws `ERR_WRONG_PIN` for a wrong PIN;
   * what else it throws is not counted.
   * @throws HsmError `ERR_PIN_LOCKED`, `ERR_UNTRUSTED_FILE`; WrongPinError
   */
  async count<T>(attempt: () => Promise<T>): Promise<T> {
    return await this.#alone(async () => {
      const { wrong, left } = await this.state();
      if (left === 0) throw this.#locked(wrong);
      await this.#write(wrong + 1);
      if (wrong > 0) await delay(Math.min(firstDelayMs * 2 ** (wrong - 1), maxDelayMs));
      try {
        const result = await attempt();
        await this.#write(0);
        return result;
      } catch (error) {
        if (error instanceof HsmError && error.code === "ERR_WRONG_PIN") {
          throw new WrongPinError(left - 1, `${error.message}; ${leftText(left - 1)}`);
        }
        await this.#write(wrong);
        throw error;
      }
    });
  }

  /** Waits for its turn among the attempts, and counts neither way. */
  async uncounted<T>(action: () => Promise<T>): Promise<T> {
    return await this.#alone(action);
  }

  /** Forgets all wrong PINs, and lets nobody try one while `action` runs. */
  async reset<T>(action: () => Promise<T>): Promise<T> {
    return await this.#alone(async () => {
      const result = await action();
      await this.#write(0);
      return result;
    });
  }

  #alone<T>(action: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(async () => {
      const release = await this.#lock();
      try {
        return await action();
      } finally {
        await release();
      }
    });
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #lock(): Promise<Release> {
    for (const deadline = Date.now() + lockMs; ;) {
      try {
        return await lockDirectory(dirname(this.#path), `${basename(this.#path)}.lock`);
      } catch (error) {
        if (!(error instanceof HsmError)) throw this.#cannotCount(error);
        if (error.code !== "ERR_CONFLICT" || Date.now() > deadline) throw error;
      }
      await delay(pollMs);
    }
  }

  async #read(): Promise<number> {
    let bytes;
    try {
      bytes = await readSecretFile(this.#path);
    } catch (error) {
      if (error instanceof HsmError && isMissing(error.cause)) return 0;
      throw error;
    }
    try {
      return validated(AttemptsFile, parseJson(bytes), "ERR_INVALID_CONFIG").wrong;
    } catch (cause) {
      throw new HsmError(
        "ERR_INVALID_CONFIG",
        `${this.#path} does not count PIN attempts: set it right with thsm pin unlock`,
        { cause },
      );
    }
  }

  async #write(wrong: number): Promise<void> {
    try {
      const text = `${JSON.stringify({ version: 1, wrong })}\n`;
      await writeSecretFile(this.#path, text, this.#identityFile);
    } catch (error) {
      throw this.#cannotCount(error);
    }
  }

  /** No counting, no attempt. */
  #cannotCount(cause: unknown): HsmError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new HsmError(
      "ERR_INVALID_CONFIG",
      `PIN attempts cannot be counted in ${this.#path}: ${reason}; let pinAttemptsFile in client.toml name a file that can be written`,
      { cause },
    );
  }

  #locked(wrong: number): HsmError {
    return new HsmError(
      "ERR_PIN_LOCKED",
      `the PIN is locked after ${wrong} wrong ones; on its host: thsm pin unlock, and if it is forgotten: thsm pin unlock --recovery-source FILE`,
    );
  }
}

function leftText(left: number): string {
  if (left === 0) return "it is locked now";
  return left === 1 ? "one attempt is left" : `${left} attempts are left`;
}
