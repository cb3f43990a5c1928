/** @module Searching bytes for a secret, whole or in pieces, in any encoding that a leak might have. */

export interface Secret {
  readonly name: string;
  readonly bytes: Buffer;
  /** Look for the whole only: it is short, or a text. */
  readonly isText?: boolean;
}

/** A piece of a number that is found is a leak of the number. */
const pieceLength = 16;

/** Ways to write a piece; each must be found by a positive control. */
export const spellings: Readonly<Record<string, (bytes: Buffer) => Buffer[]>> = {
  raw: (bytes) => [bytes],
  reversed: (bytes) => [Buffer.from(bytes.toReversed())],
  hex: (bytes) => [Buffer.from(bytes.toString("hex"))],
  "upper-case hex": (bytes) => [Buffer.from(bytes.toString("hex").toUpperCase())],
  base64: (bytes) => alignments(bytes, "base64"),
  base64url: (bytes) => alignments(bytes, "base64url"),
};

/** Names of the secrets that are in the bytes. */
export class Needles {
  readonly #needles: { name: string; bytes: Buffer; isPin: boolean }[] = [];

  constructor(secrets: readonly Secret[]) {
    for (const { name, bytes, isText } of secrets) {
      for (const piece of isText === true ? [bytes] : pieces(bytes)) {
        for (const spell of Object.values(spellings)) {
          const isShort = piece.length < pieceLength;
          for (const needle of spell(piece)) {
            // A short text in digits would be found by chance among other digits.
            const isPin = isShort && /^[0-9a-f]+$/i.test(needle.toString("latin1"));
            if (needle.length >= 8) this.#needles.push({ name, bytes: needle, isPin });
          }
        }
      }
    }
  }

  find(haystack: Buffer): string[] {
    const found = new Set<string>();
    for (const { name, bytes, isPin } of this.#needles) {
      if (found.has(name)) continue;
      let at = haystack.indexOf(bytes);
      if (isPin) {
        while (at >= 0 && isPartOfWord(haystack, at, bytes.length)) {
          at = haystack.indexOf(bytes, at + 1);
        }
      }
      if (at >= 0) found.add(name);
    }
    return [...found].toSorted();
  }
}

function pieces(bytes: Buffer): Buffer[] {
  const count = Math.floor(bytes.length / pieceLength);
  return Array.from({ length: count }, (_, i) =>
    bytes.subarray(i * pieceLength, (i + 1) * pieceLength),
  );
}

/** Base64 groups three bytes: the same bytes look different at each of three places. */
function alignments(bytes: Buffer, encoding: "base64" | "base64url"): Buffer[] {
  return [0, 1, 2].map((lead) => {
    const text = Buffer.concat([Buffer.alloc(lead), bytes]).toString(encoding);
    const first = Math.ceil((lead * 8) / 6);
    const end = Math.floor(((lead + bytes.length) * 8) / 6);
    return Buffer.from(text.slice(first, end));
  });
}

/** Eight digits within a hash or a longer number are no PIN. */
function isPartOfWord(haystack: Buffer, at: number, length: number): boolean {
  const isHex = (byte: number | undefined): boolean =>
    byte !== undefined && /[0-9a-f]/i.test(String.fromCharCode(byte));
  return isHex(haystack[at - 1]) || isHex(haystack[at + length]);
}
