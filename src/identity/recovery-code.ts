/**
 * @module The code that opens a client's identity when the PIN is forgotten: 150 random bits in
 * letters that people do not confuse. Made with the identity, shown once, kept elsewhere.
 */
import { randomInt } from "node:crypto";
import { HsmError } from "../errors.js";

/** Crockford's base 32: without I, L, O and U. */
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const groups = 6;
const groupLength = 5;

/** Secret; as `XXXXX-XXXXX-…`. */
export function newRecoveryCode(): string {
  const letters = Array.from(
    { length: groups * groupLength },
    () => alphabet[randomInt(alphabet.length)],
  );
  return letters.join("").replace(/(.{5})(?=.)/g, "$1-");
}

/**
 * What a person typed, as it was made.
 * @throws HsmError `ERR_WRONG_PIN` for what cannot be a recovery code
 */
export function normalizedRecoveryCode(text: string): string {
  const code = text.toUpperCase().replace(/[\s-]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  if (/^[0-9A-HJKMNP-TV-Z]{30}$/.test(code)) return code;
  throw new HsmError(
    "ERR_WRONG_PIN",
    `a recovery code has ${groups} groups of ${groupLength} letters and digits`,
  );
}
