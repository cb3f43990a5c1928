/**
 * @module The words of the scheme: Shoup, "Practical Threshold Signatures", EUROCRYPT 2000, first
 * protocol. `bigint` inside, `Uint8Array` (big-endian, exactly as long as the modulus) outside.
 */

/** Bits of N that we deal and accept. 1024 only because zone signing keys of that size exist. */
export const modulusSizes: readonly number[] = [1024, 2048, 3072, 4096];
export const minModulusBits = 1024;
export const maxModulusBits = 4096;

/** Most parties of a key. Everything that is computed per party or per factor of n! is bounded by it. */
export const maxParties = 32;

/** e: the only public exponent. It is a prime above every n, which the scheme requires. */
export const publicExponent = 65537n;

/**
 * How data becomes the number that is signed (RFC 8017 section 9). "decrypt" is a raw block as well:
 * a blinded ciphertext, under a name of its own so that policies and histories can tell. So is "checkpoint", which
 * is "pkcs1v15" with SHA-256: the digest of a checkpoint that nodes have signed themselves.
 */
export type Encoding = "pkcs1v15" | "pss" | "pkcs1v15-opaque" | "raw" | "decrypt" | "checkpoint";

export type Hash = "sha1" | "sha224" | "sha256" | "sha384" | "sha512";

/** Gives `length` uniformly random bytes in a buffer that the caller may overwrite. */
export type RandomSource = (length: number) => Uint8Array;

/** An RSA public key with numbers instead of bytes. Public. */
export interface RsaPublicKey {
  /** N, exactly `8 * modulusLength` bits. */
  readonly modulus: bigint;
  /** Bytes of N, and of everything modulo N that travels. */
  readonly modulusLength: number;
  readonly publicExponent: bigint;
}

/**
 * What everybody may know of a dealt key. Made by `parseGroupKey` or `dealKey` only, frozen:
 * whoever holds one can rely on its ranges. Keep one object per key: what was computed for it (OpenSSL's
 * contexts, a quorum's exponents) is found again by the object. Public.
 */
export interface GroupKey extends RsaPublicKey {
  readonly modulusBits: number;
  /** k: how many signature shares make a signature, n/2 < k <= n. */
  readonly threshold: number;
  /** n: how many key shares were dealt. */
  readonly parties: number;
  /** v, a random square modulo N. */
  readonly verificationBase: bigint;
  /** v_i = v^{s_i} mod N; party i is at index i-1. */
  readonly verificationKeys: readonly bigint[];
}

/** A `GroupKey` in bytes, as it travels in a key's `proposed` event. Public. */
export interface GroupKeyBytes {
  readonly modulus: Uint8Array;
  /** No leading zeros. */
  readonly publicExponent: Uint8Array;
  readonly threshold: number;
  readonly parties: number;
  readonly verificationBase: Uint8Array;
  readonly verificationKeys: readonly Uint8Array[];
}

/**
 * One party's answer to one encoded message, in range (`parseSignatureShare`), not yet proven right.
 * `value` is the smaller of ±x_i: 1 < value <= (N-1)/2. Public.
 */
export interface SignatureShare {
  readonly index: number;
  readonly value: bigint;
}

/** What a share proof is bound to beside the numbers. Public. */
export interface ProofContext {
  readonly keyId: string;
  /** 0 … 2^32-1. */
  readonly epoch: number;
}
