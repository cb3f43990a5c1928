/** @module MGF1 (RFC 8017 appendix B.2.1): the mask of PSS and of OAEP. */
import { createHash } from "node:crypto";
import { concatBytes, uint32 } from "./bytes.js";
import { hashes } from "./digest-info.js";
import type { Hash } from "./types.js";

export function mgf1(hash: Hash, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let counter = 0; counter * hashes[hash].length < length; counter++) {
    blocks.push(createHash(hash).update(seed).update(uint32(counter)).digest());
  }
  return concatBytes(blocks).subarray(0, length);
}
