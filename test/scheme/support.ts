/** @module What the scheme's tests share: messages, signature shares of fixed keys, expected failures. */
import { expect } from "chai";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { HsmError, type HsmErrorCode } from "../../src/errors.js";
import {
  encodeMessage,
  type GroupKey,
  parseSignatureShare,
  ShareSigner,
  type SignatureShare,
} from "../../src/scheme/index.js";
import type { TestKey } from "../support/keys.js";

/** For fast-check; SLOW=1 looks harder. */
export const numRuns: number = process.env["SLOW"] === undefined ? 20 : 500;

/** The encoded message of a text, under "pkcs1v15" and SHA-256. */
export function encoded(group: GroupKey, text: string): Uint8Array {
  const data = createHash("sha256").update(text).digest();
  return encodeMessage(group, { encoding: "pkcs1v15", hash: "sha256", data });
}

const signers = new WeakMap<TestKey, readonly ShareSigner[]>();

/** One signer per party, made once per key. */
export function signersOf(key: TestKey): readonly ShareSigner[] {
  let made = signers.get(key);
  if (made === undefined) {
    made = key.shares.map((share) => new ShareSigner(key.group, share));
    signers.set(key, made);
  }
  return made;
}

/** The right signature shares of all parties, in order. */
export function allShares(key: TestKey, encodedMessage: Uint8Array): SignatureShare[] {
  return signersOf(key).map((signer, i) =>
    parseSignatureShare(key.group, i + 1, signer.sign(encodedMessage)),
  );
}

/** Expects the call to throw an `HsmError` of this code. */
export function expectCode(call: () => unknown, code: HsmErrorCode): void {
  expect(call).to.throw(HsmError).with.property("code", code);
}

/** `bytes` with one byte changed. */
export function mutated(bytes: Uint8Array, position: number, mask: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[position] = (changed[position] ?? 0) ^ mask;
  return changed;
}

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** A file of test/vectors; its README says where each comes from. */
export function vectors<T>(name: string): T {
  const file = new URL(`../../../test/vectors/${name}`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as T;
}
