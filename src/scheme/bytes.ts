/**
 * @module Numbers and bytes: I2OSP and OS2IP (RFC 8017 section 4), length-framed hashing, and
 * random numbers below a limit.
 */
import { createHash } from "node:crypto";
import type { RandomSource } from "./types.js";

/** OS2IP: the number in big-endian `bytes`; 0 for none. */
export function bytesToNumber(bytes: Uint8Array): bigint {
  const { buffer, byteOffset, byteLength } = bytes;
  return BigInt(`0x0${Buffer.from(buffer, byteOffset, byteLength).toString("hex")}`);
}

/**
 * I2OSP: `value` as exactly `length` big-endian bytes.
 * @throws RangeError when it is negative or does not fit.
 */
export function numberToBytes(value: bigint, length: number): Uint8Array {
  const hex = value.toString(16).padStart(2 * length, "0");
  if (value < 0n || hex.length !== 2 * length) {
    throw new RangeError(`number does not fit into ${length} bytes`);
  }
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** Bits of a number above 0, without leading zeros. */
export function bitLength(value: bigint): number {
  return value.toString(2).length;
}

/** The number in four big-endian bytes. @throws RangeError outside 0 … 2^32-1. */
export function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** SHA-256 over the parts, each after its length in four bytes, so that no two lists hash alike. */
export function framedHash(parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(uint32(part.length)).update(part);
  return hash.digest();
}

/**
 * A uniform number in [0, limit), by rejection: each try succeeds with probability above 1/2.
 * @throws Error when the source never hits, which honest randomness does not do (2^-256).
 */
export function randomBelow(limit: bigint, random: RandomSource): bigint {
  const bits = bitLength(limit);
  const length = Math.ceil(bits / 8);
  for (let tries = 0; tries < 256; tries++) {
    const bytes = random(length);
    const value = BigInt.asUintN(bits, bytesToNumber(bytes));
    bytes.fill(0);
    if (value < limit) return value;
  }
  throw new Error("random source is broken");
}
