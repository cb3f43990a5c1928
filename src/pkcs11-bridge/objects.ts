/** @module Keys as PKCS#11 objects: handles and attributes (pkcs11.md section 9.2). */
import type { Hash, KeyInfo, TokenObject } from "../client/index.js";
import { cka, ckk, ckm, cko } from "./ckr.js";
import { Writer } from "./rpc/codec.js";

/** A key's two handles. They are the same in every process and after every restart. */
export interface KeyHandles {
  readonly publicKey: bigint;
  readonly privateKey: bigint;
}

// How a value is written; the module turns numbers into the application's CK_ULONG.
const kinds = { bytes: 0, bool: 1, number: 2, sensitive: 3, numbers: 4 } as const;

const { RSA_PKCS, RSA_X_509, RSA_PKCS_OAEP } = ckm;

const hashMechanisms: Readonly<Record<Hash, { pkcs1: number; pss: number }>> = {
  sha1: { pkcs1: ckm.SHA1_RSA_PKCS, pss: ckm.SHA1_RSA_PKCS_PSS },
  sha224: { pkcs1: ckm.SHA224_RSA_PKCS, pss: ckm.SHA224_RSA_PKCS_PSS },
  sha256: { pkcs1: ckm.SHA256_RSA_PKCS, pss: ckm.SHA256_RSA_PKCS_PSS },
  sha384: { pkcs1: ckm.SHA384_RSA_PKCS, pss: ckm.SHA384_RSA_PKCS_PSS },
  sha512: { pkcs1: ckm.SHA512_RSA_PKCS, pss: ckm.SHA512_RSA_PKCS_PSS },
};

/** What the nodes will do with the key, in PKCS#11's words. */
function mechanismsOf({ policy }: KeyInfo): number[] {
  const { encodings, hashes } = policy;
  const allowed = new Set<number>();
  for (const encoding of encodings) {
    if (encoding === "decrypt")
      [RSA_PKCS, RSA_PKCS_OAEP, RSA_X_509].forEach((one) => allowed.add(one));
    if (encoding === "raw") allowed.add(RSA_X_509);
    if (encoding === "pkcs1v15" || encoding === "pkcs1v15-opaque") allowed.add(RSA_PKCS);
    if (encoding === "pss") allowed.add(ckm.RSA_PKCS_PSS);
    for (const hash of hashes) {
      if (encoding === "pkcs1v15") allowed.add(hashMechanisms[hash].pkcs1);
      if (encoding === "pss") allowed.add(hashMechanisms[hash].pss);
    }
  }
  return [...allowed].toSorted((one, other) => one - other);
}

function signs({ policy }: KeyInfo): boolean {
  return policy.encodings.some((encoding) => encoding !== "decrypt" && encoding !== "checkpoint");
}

function decrypts({ policy }: KeyInfo): boolean {
  return policy.encodings.includes("decrypt");
}

/** 62 bits of the key id, then one for the half. Bit 63 is left to the module's own objects. */
export function handlesOf(keyId: string): KeyHandles {
  const bits = BigInt(`0x${keyId.slice(0, 16)}`) >> 2n;
  return { publicKey: bits << 1n, privateKey: (bits << 1n) | 1n };
}

class AttributeWriter {
  readonly #writer = new Writer();
  #count = 0;

  #add(type: number, kind: number, value: Uint8Array): this {
    this.#writer.u32(type).u8(kind).bytes(value);
    this.#count++;
    return this;
  }

  bytes(type: number, value: Uint8Array): this {
    return this.#add(type, kinds.bytes, value);
  }

  number(type: number, value: number): this {
    return this.#add(type, kinds.number, new Writer().u64(BigInt(value)).finish());
  }

  numbers(type: number, values: readonly number[]): this {
    const writer = new Writer();
    for (const value of values) writer.u64(BigInt(value));
    return this.#add(type, kinds.numbers, writer.finish());
  }

  bools(value: boolean, ...types: number[]): this {
    for (const type of types) this.#add(type, kinds.bool, Uint8Array.of(value ? 1 : 0));
    return this;
  }

  sensitive(...types: number[]): this {
    for (const type of types) this.#add(type, kinds.sensitive, new Uint8Array(0));
    return this;
  }

  finish(handle: bigint): Buffer {
    return new Writer().u64(handle).u16(this.#count).fixed(this.#writer.finish()).finish();
  }
}

/** The object's one handle. */
export function handleOf({ objectId }: TokenObject): bigint {
  return handlesOf(objectId).publicKey;
}

/** A certificate or data, as one object of a KEYS reply. */
export function storedObject(object: TokenObject): Buffer {
  const empty = new Uint8Array(0);
  const { kind, label, value, id, fields } = object;
  const writer = new AttributeWriter()
    .bytes(cka.LABEL, Buffer.from(label, "utf8"))
    .bytes(cka.VALUE, value)
    .bools(true, cka.TOKEN, cka.MODIFIABLE, cka.COPYABLE, cka.DESTROYABLE)
    .bools(false, cka.PRIVATE);
  if (kind === "data") {
    writer
      .number(cka.CLASS, cko.DATA)
      .bytes(cka.APPLICATION, fields.application ?? empty)
      .bytes(cka.OBJECT_ID, fields.objectId ?? empty);
  } else {
    writer
      .number(cka.CLASS, cko.CERTIFICATE)
      .number(cka.CERTIFICATE_TYPE, 0)
      .number(cka.CERTIFICATE_CATEGORY, 0)
      .bools(false, cka.TRUSTED)
      .bytes(cka.ID, id)
      .bytes(cka.SUBJECT, fields.subject ?? empty)
      .bytes(cka.ISSUER, fields.issuer ?? empty)
      .bytes(cka.SERIAL_NUMBER, fields.serialNumber ?? empty)
      .bytes(cka.START_DATE, empty)
      .bytes(cka.END_DATE, empty);
  }
  return writer.finish(handleOf(object));
}

function common(key: KeyInfo, objectClass: number): AttributeWriter {
  const empty = new Uint8Array(0);
  return new AttributeWriter()
    .number(cka.CLASS, objectClass)
    .number(cka.KEY_TYPE, ckk.RSA)
    .bytes(cka.LABEL, Buffer.from(key.label, "utf8"))
    .bytes(cka.ID, key.id)
    .bytes(cka.MODULUS, key.modulus)
    .bytes(cka.PUBLIC_EXPONENT, key.publicExponent)
    .number(cka.KEY_GEN_MECHANISM, ckm.RSA_PKCS_KEY_PAIR_GEN)
    .numbers(cka.ALLOWED_MECHANISMS, mechanismsOf(key))
    .bytes(cka.SUBJECT, empty)
    .bytes(cka.START_DATE, empty)
    .bytes(cka.END_DATE, empty)
    .bools(true, cka.TOKEN, cka.LOCAL, cka.MODIFIABLE)
    .bools(false, cka.DERIVE);
}

/** The public half, as one object of a KEYS reply. */
export function publicObject(key: KeyInfo): Buffer {
  return common(key, cko.PUBLIC_KEY)
    .number(cka.MODULUS_BITS, key.modulusBits)
    .bools(true, cka.COPYABLE)
    .bools(signs(key), cka.VERIFY)
    .bools(decrypts(key), cka.ENCRYPT)
    .bools(false, cka.PRIVATE, cka.TRUSTED, cka.WRAP, cka.VERIFY_RECOVER)
    .bools(false, cka.DESTROYABLE)
    .finish(handlesOf(key.keyId).publicKey);
}

/** The private half: no machine has its value, and none ever will. */
export function privateObject(key: KeyInfo): Buffer {
  return common(key, cko.PRIVATE_KEY)
    .bools(true, cka.PRIVATE, cka.SENSITIVE, cka.ALWAYS_SENSITIVE, cka.NEVER_EXTRACTABLE)
    .bools(true, cka.DESTROYABLE)
    .bools(signs(key), cka.SIGN)
    .bools(decrypts(key), cka.DECRYPT)
    .bools(false, cka.EXTRACTABLE, cka.UNWRAP, cka.SIGN_RECOVER, cka.COPYABLE)
    .bools(false, cka.ALWAYS_AUTHENTICATE, cka.WRAP_WITH_TRUSTED)
    .sensitive(cka.PRIVATE_EXPONENT, cka.PRIME_1, cka.PRIME_2)
    .sensitive(cka.EXPONENT_1, cka.EXPONENT_2, cka.COEFFICIENT)
    .finish(handlesOf(key.keyId).privateKey);
}
