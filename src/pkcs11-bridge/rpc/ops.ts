/** @module The protocol's calls: their numbers, and the bodies of their requests. */
import {
  readEncryption,
  readMechanism,
  type EncryptionInput,
  type MechanismInput,
} from "../mechanisms.js";
import type { Reader } from "./codec.js";

/** In the order of their numbers, from 1 on. */
export const opNames = [
  "login",
  "resume",
  "logout",
  "keys",
  "sign",
  "verify",
  "generate",
  "destroy",
  "decrypt",
  "encrypt",
  "relabel",
  "store",
  "set-pin",
  "note",
  "pin-state",
  "check-code",
  "reset-pin",
] as const;
export type OpName = (typeof opNames)[number];

/** The name of a number; `undefined` when it is no op. */
export function opName(op: number): OpName | undefined {
  return opNames[op - 1];
}

export function opNumber(name: OpName): number {
  return opNames.indexOf(name) + 1;
}

/** The bodies, read. */
export interface Requests {
  readonly login: { readonly token: string; readonly pin: Uint8Array };
  readonly resume: { readonly token: string; readonly ticket: Uint8Array };
  readonly logout: { readonly token: string };
  readonly keys: { readonly token: string; readonly known: Uint8Array; readonly first: number };
  readonly sign: {
    readonly token: string;
    readonly handle: bigint;
    readonly input: MechanismInput;
  };
  readonly verify: {
    readonly modulus: Uint8Array;
    readonly publicExponent: Uint8Array;
    readonly input: MechanismInput;
    readonly signature: Uint8Array;
  };
  readonly generate: {
    readonly token: string;
    readonly operationId: Uint8Array;
    readonly label: Uint8Array;
    readonly id: Uint8Array;
    readonly modulusBits: number;
    /** A key for decryption and nothing else, in place of one that signs. */
    readonly decrypts: boolean;
  };
  readonly destroy: { readonly token: string; readonly handle: bigint };
  readonly decrypt: {
    readonly token: string;
    readonly handle: bigint;
    readonly input: EncryptionInput;
  };
  /** An absent name stays as it is. */
  readonly relabel: {
    readonly token: string;
    readonly handle: bigint;
    readonly label: Uint8Array | undefined;
    readonly id: Uint8Array | undefined;
  };
  readonly store: {
    readonly token: string;
    readonly operationId: Uint8Array;
    readonly objectClass: number;
    /** By CKA number. */
    readonly attributes: ReadonlyMap<number, Uint8Array>;
  };
  readonly "set-pin": {
    readonly token: string;
    readonly oldPin: Uint8Array;
    readonly newPin: Uint8Array;
  };
  readonly note: { readonly token: string; readonly what: number };
  readonly "pin-state": { readonly token: string };
  readonly "check-code": { readonly token: string; readonly code: Uint8Array };
  readonly "reset-pin": {
    readonly token: string;
    readonly code: Uint8Array;
    readonly newPin: Uint8Array;
  };
  readonly encrypt: {
    readonly modulus: Uint8Array;
    readonly publicExponent: Uint8Array;
    readonly input: EncryptionInput;
  };
}

type Parsers = { readonly [Name in OpName]: (reader: Reader) => Requests[Name] };

/** What each request's body holds. Every parser throws `ERR_INVALID_MESSAGE` beyond the end. */
export const parsers: Parsers = {
  login: (reader) => ({ token: reader.text(), pin: reader.bytes() }),
  resume: (reader) => ({ token: reader.text(), ticket: reader.bytes() }),
  logout: (reader) => ({ token: reader.text() }),
  keys: (reader) => ({
    token: reader.text(),
    known: Buffer.from(reader.fixed(16)),
    first: reader.u32(),
  }),
  sign: (reader) => ({
    token: reader.text(),
    handle: reader.u64(),
    input: readMechanism(reader),
  }),
  verify: (reader) => ({
    modulus: reader.bytes(),
    publicExponent: reader.bytes(),
    input: readMechanism(reader),
    signature: reader.bytes(),
  }),
  generate: (reader) => ({
    token: reader.text(),
    operationId: Buffer.from(reader.fixed(16)),
    label: reader.bytes(),
    id: reader.bytes(),
    modulusBits: reader.u16(),
    decrypts: reader.bool(),
  }),
  destroy: (reader) => ({ token: reader.text(), handle: reader.u64() }),
  decrypt: (reader) => ({
    token: reader.text(),
    handle: reader.u64(),
    input: readEncryption(reader),
  }),
  relabel: (reader) => ({
    token: reader.text(),
    handle: reader.u64(),
    label: reader.bool() ? reader.bytes() : undefined,
    id: reader.bool() ? reader.bytes() : undefined,
  }),
  store: (reader) => ({
    token: reader.text(),
    operationId: Buffer.from(reader.fixed(16)),
    objectClass: reader.u32(),
    attributes: readAttributes(reader),
  }),
  "set-pin": (reader) => ({
    token: reader.text(),
    oldPin: reader.bytes(),
    newPin: reader.bytes(),
  }),
  note: (reader) => ({ token: reader.text(), what: reader.u8() }),
  "pin-state": (reader) => ({ token: reader.text() }),
  "check-code": (reader) => ({ token: reader.text(), code: reader.bytes() }),
  "reset-pin": (reader) => ({
    token: reader.text(),
    code: reader.bytes(),
    newPin: reader.bytes(),
  }),
  encrypt: (reader) => ({
    modulus: reader.bytes(),
    publicExponent: reader.bytes(),
    input: readEncryption(reader),
  }),
};

function readAttributes(reader: Reader): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  for (let left = reader.u16(); left > 0; left--) attributes.set(reader.u32(), reader.bytes());
  return attributes;
}
