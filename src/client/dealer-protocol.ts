/**
 * @module What the dealing child and its parent say to each other (over Node's IPC, a pipe of
 * their own). The whole private key exists only in the child, from the primes to the last sealed
 * share; nothing secret crosses the pipe.
 */
import type { GroupKeyBytes } from "../scheme/index.js";
import type { SealedShare } from "../streams/deals.js";
import type { Dealing } from "../streams/sealing.js";

export type ToDealer =
  | { readonly op: "primes"; readonly modulusBits: number }
  | { readonly op: "deal"; readonly parties: number; readonly threshold: number }
  | { readonly op: "seal"; readonly dealing: Dealing };

export type FromDealer =
  /** One of the two primes is found. */
  | { readonly op: "prime" }
  | { readonly op: "dealt"; readonly group: GroupKeyBytes }
  | { readonly op: "sealed"; readonly sealed: SealedShare }
  /** The party's one-time key is not one that can be sealed to. */
  | { readonly op: "unsealable"; readonly sealingKey: string }
  | { readonly op: "failed"; readonly message: string };
