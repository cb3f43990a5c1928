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

  /** Starts searching for primes at once. `modulusBits`: 1024, 2048, 3072 or 4096. */
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
    // A child that cannot be started or spoken to: whoever waits for it is told by #answer.
    this.#child.on("error", () => this.#child.kill("SIGKILL"));
    this.#child.on("message", (message: FromDealer) => {
      if (message.op === "prime") this.#onPrime?.(++this.#primesFound);
    });
    this.#tell({ op: "primes", modulusBits });
  }

  get isAlive(): boolean {
    const { connected, exitCode, signalCode } = this.#child;
    return connected && exitCode === null && signalCode === null;
  }

  /**
   * The public record, once the primes are found.
   * @throws HsmError `ERR_INTERNAL`, `ERR_ABORTED`, `ERR_KEY_ABANDONED` when the child has ended
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

  /**
   * A party's share, sealed.
   * @throws HsmError `ERR_INVALID_MESSAGE` when its one-time key is none, `ERR_ABORTED`,
   * `ERR_KEY_ABANDONED` when the child has ended
   */
  async seal(dealing: Dealing, signal: AbortSignal): Promise<SealedShare> {
    const { sealingKey } = dealing;
    const answer = this.#answer(signal, (message) => {
      if (message.op === "sealed" && message.sealed.sealingKey === sealingKey) return message;
      return message.op === "unsealable" && message.sealingKey === sealingKey ? message : undefined;
    });
    this.#tell({ op: "seal", dealing });
    const said = await answer;
    if (said.op === "sealed") return said.sealed;
    throw new HsmError("ERR_INVALID_MESSAGE", `${dealing.node} sent a useless one-time key`);
  }

  /** Ends the child, and with it every copy of the private key. */
  end(): void {
    this.#child.kill("SIGKILL");
  }

  #answer<T>(signal: AbortSignal, pick: (message: FromDealer) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#child.off("message", receive).off("exit", die).off("error", die);
        signal.removeEventListener("abort", abort);
      };
      const fail = (error: HsmError): void => {
        leave();
        reject(error);
      };
      const receive = (message: FromDealer): void => {
        if (message.op === "failed") {
          fail(new HsmError("ERR_INTERNAL", message.message));
          return;
        }
        const picked = pick(message);
        if (picked === undefined) return;
        leave();
        resolve(picked);
      };
      const die = (): void => {
        fail(new HsmError("ERR_KEY_ABANDONED", "the dealing process ended early"));
      };
      const abort = (): void => {
        fail(new HsmError("ERR_ABORTED", "key generation was given up"));
      };
      this.#child.on("message", receive).on("exit", die).on("error", die);
      signal.addEventListener("abort", abort);
      if (!this.isAlive) die();
      else if (signal.aborted) abort();
    });
  }

  #tell(message: ToDealer): void {
    // A failure is an "error" event.
    if (this.#child.connected) this.#child.send(message);
  }
}
