/**
 * @module The dealing process: one key, then it exits and its memory is gone. It finds the primes,
 * deals, seals each share to its party's one-time key, and is ended by its parent when the key is
 * active or abandoned, or by the parent's death.
 */
import { constants, setPriority } from "node:os";
import { describeError } from "../errors.js";
import {
  dealKey,
  generateSafePrime,
  groupKeyBytes,
  serializeKeyShare,
  type DealtKey,
} from "../scheme/index.js";
import { sealShare } from "../streams/sealing.js";
import type { FromDealer, ToDealer } from "./dealer-protocol.js";

let primes: Promise<[bigint, bigint]> | undefined;
let dealt: DealtKey | undefined;

// Searching for primes takes both processors for seconds: signing goes first.
setPriority(constants.priority.PRIORITY_LOW);
// process.exit would wait for a prime to be found.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// Ctrl-C reaches the whole group; the parent decides what becomes of the key.
process.on("SIGINT", () => undefined);
process.on("message", (message: ToDealer) => {
  handle(message).catch((error: unknown) => {
    tell({ op: "failed", message: describeError(error) });
  });
});

async function handle(message: ToDealer): Promise<void> {
  switch (message.op) {
    case "primes": {
      const bits = message.modulusBits / 2;
      primes = Promise.all([findPrime(bits), findPrime(bits)]);
      await primes;
      return;
    }
    case "deal": {
      if (primes === undefined) throw new Error("no primes were asked for");
      const [p, q] = await primes;
      primes = undefined;
      const { parties, threshold } = message;
      dealt = dealKey({ p, q, parties, threshold });
      tell({ op: "dealt", group: groupKeyBytes(dealt.group) });
      return;
    }
    case "seal": {
      const share = dealt?.shares[message.dealing.party - 1];
      if (dealt === undefined || share === undefined) throw new Error("nothing is dealt yet");
      const plain = serializeKeyShare(share, dealt.group);
      try {
        tell({ op: "sealed", sealed: await sealShare(message.dealing, plain) });
      } catch {
        tell({ op: "unsealable", sealingKey: message.dealing.sealingKey });
      } finally {
        plain.fill(0);
      }
    }
  }
}

async function findPrime(bits: number): Promise<bigint> {
  const prime = await generateSafePrime(bits);
  tell({ op: "prime" });
  return prime;
}

function tell(message: FromDealer): void {
  process.send?.(message);
}
