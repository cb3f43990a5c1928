/** @module The parent's side of a dealing child: starts it, asks it, ends it. */
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { HsmError } from "../errors.js";
import type { GroupKeyBytes } from "../scheme/index.js";
import type { SealedShare } from "../streams/deals.js";
import type { Dealing } from "../streams/sealing.js";
import type { FromDealer, ToDealer } from "./dealer-protocol.js";

const childFile = fileURLToPath(new URL("./dealer-child.js", import.meta.url));

export class Dealer {
  readonly modulusBits: number;
  readonly #child: ChildProcess;
  #primesFound = 0;
  #onPrime: ((found: number) => void) | undefined;

  /** Starts searching for primes at once. */
  constructor(modulusBits: number) {
    this.modulusBits = modulusBits;
    this.#child = fork(childFile, [], {
      serialization: "advanced",
      // The child needs nothing of our environment, and has nothing to say but over the pipe.
      env: {},
      execArgv: [],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child.setMaxListeners(0);
    this.#child.on("message", (message: FromDealer) => {
      if (message.op === "prime") this.#onPrime?.(++this.#primesFound);
    });
    this.#tell({ op: "primes", modulusBits });
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /**
   * The public record, once the primes are found.
   * @throws HsmError `ERR_INTERNAL`, `ERR_ABORTED`
   */
  async deal(
    parties: number,
    threshold: number,
    signal: AbortSignal,
    onPrime: (found: number) => void,
  ): Promise<GroupKeyBytes> {
    this.#onPrime = onPrime;
    if (this.#primesFound > 0) onPrime(this.#primesFound);
    const answer = this.#answer(signal, (message) =>
      message.op === "dealt" ? message.group : undefined,
    );
    this.#tell({ op: "deal", parties, threshold });
    return await answer;
  }

  /** A party's share, sealed. @throws HsmError `ERR_INTERNAL`, `ERR_ABORTED` */
  async seal(dealing: Dealing, signal: AbortSignal): Promise<SealedShare> {
    const answer = this.#answer(signal, (message) =>
      message.op === "sealed" && message.sealed.sealingKey === dealing.sealingKey
        ? message.sealed
        : undefined,
    );
    this.#tell({ op: "seal", dealing });
    return await answer;
  }

  /** Ends the child, and with it every copy of the private key. */
  end(): void {
    this.#child.kill("SIGKILL");
  }

  #answer<T>(signal: AbortSignal, pick: (message: FromDealer) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#child.off("message", receive).off("exit", die);
        signal.removeEventListener("abort", abort);
      };
      const fail = (error: HsmError): void => {
        leave();
        reject(error);
      };
      const receive = (message: FromDealer): void => {
        if (message.op === "failed") fail(new HsmError("ERR_INTERNAL", message.message));
        const picked = pick(message);
        if (picked === undefined) return;
        leave();
        resolve(picked);
      };
      const die = (): void => {
        fail(new HsmError("ERR_INTERNAL", "the dealing process ended early"));
      };
      const abort = (): void => {
        fail(new HsmError("ERR_ABORTED", "key generation was given up"));
      };
      this.#child.on("message", receive).on("exit", die);
      signal.addEventListener("abort", abort);
      if (!this.isAlive) die();
      else if (signal.aborted) abort();
    });
  }

  #tell(message: ToDealer): void {
    if (this.#child.connected) this.#child.send(message);
  }
}
