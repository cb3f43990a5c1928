/**
 * @module DNS master files (RFC 1035 §5, RFC 4034 §3.2) as signers dump them: entries over several lines in
 * parentheses, quoted strings, comments, $ORIGIN and $TTL, names below the origin. Record data stays text.
 */
import { HsmError } from "../../errors.js";

/** One record; names are lower-case and absolute. */
export interface ZoneRecord {
  /** Line on which it begins, from 1. */
  readonly line: number;
  readonly owner: string;
  /** Upper-case. */
  readonly type: string;
  readonly data: readonly string[];
  /** In which relative names of the data are. */
  readonly origin: string;
}

/** An RRSIG record's fields that say what was signed, by which key. */
export interface Rrsig {
  readonly line: number;
  readonly owner: string;
  readonly covered: string;
  readonly algorithm: number;
  readonly keyTag: number;
  readonly signer: string;
  /** As written: YYYYMMDDHHmmSS, or seconds since 1970. */
  readonly inception: string;
  readonly expiration: string;
  /** base64url, as the log has it. */
  readonly signature: string;
}

/** An RSA key of a DNSKEY record; numbers without leading zeros, base64url. */
export interface ZoneKey {
  readonly owner: string;
  readonly flags: number;
  readonly algorithm: number;
  readonly keyTag: number;
  readonly modulus: string;
}

/** RSASHA1, RSASHA1-NSEC3-SHA1, RSASHA256, RSASHA512. */
export const rsaAlgorithms: ReadonlySet<number> = new Set([5, 7, 8, 10]);

/** A DNSKEY set of a thousand keys is far below it; what is above is no master file. */
const maxEntryBytes = 1 << 20;
const ttlForm = /^(?:\d{1,10}[smhdw]?){1,5}$/i;
const classForm = /^(?:IN|CH|HS|CS|CLASS\d{1,5})$/i;
const typeForm = /^[A-Z][A-Z0-9-]{0,30}$/i;

/**
 * The records of a master file, in order.
 * @throws HsmError `ERR_INVALID_ARGUMENT`, with the line, for what is no master file
 */
export async function* zoneRecords(
  lines: Iterable<string> | AsyncIterable<string>,
  origin = ".",
): AsyncGenerator<ZoneRecord> {
  const state = { origin: absolute(origin, "."), owner: "" };
  let entry = new Entry(0);
  let number = 0;
  for await (const line of lines) {
    number++;
    if (entry.isEmpty) entry = new Entry(number);
    entry.add(line, number);
    if (entry.isOpen) continue;
    const record = recordOf(entry, state);
    if (record !== undefined) yield record;
    entry = new Entry(number + 1);
  }
  if (entry.isOpen) throw malformed(entry.line, "a parenthesis is never closed");
}

/** The fields of an RRSIG record. @throws HsmError `ERR_INVALID_ARGUMENT` */
export function rrsigOf({ line, owner, type, data, origin }: ZoneRecord): Rrsig {
  const [covered = "", algorithm = "", , , expiration = "", inception = "", tag = "", signer = ""] =
    data;
  const time = /^\d{1,14}$/;
  const isWhole =
    type === "RRSIG" &&
    typeForm.test(covered) &&
    time.test(expiration) &&
    time.test(inception) &&
    signer !== "";
  if (!isWhole) throw malformed(line, "an RRSIG record with fields missing");
  return {
    line,
    owner,
    covered: covered.toUpperCase(),
    algorithm: numberOf(algorithm, 255, line),
    keyTag: numberOf(tag, 65_535, line),
    signer: absolute(signer, origin),
    inception,
    expiration,
    signature: bytesOf(data.slice(8), line).toString("base64url"),
  };
}

/** The key of a DNSKEY record; undefined for one that is not RSA (RFC 3110). */
export function zoneKeyOf({ line, owner, data }: ZoneRecord): ZoneKey | undefined {
  const [flags = "", protocol = "", algorithmText = ""] = data;
  const algorithm = numberOf(algorithmText, 255, line);
  if (!rsaAlgorithms.has(algorithm)) return undefined;
  const key = bytesOf(data.slice(3), line);
  const head = Buffer.of(0, 0, numberOf(protocol, 255, line), algorithm);
  const flagNumber = numberOf(flags, 65_535, line);
  head.writeUInt16BE(flagNumber);
  const isLong = key[0] === 0 && key.length > 3;
  const at = isLong ? 3 + key.readUInt16BE(1) : 1 + (key[0] ?? 0);
  let modulus = key.subarray(at);
  while (modulus[0] === 0) modulus = modulus.subarray(1);
  if (modulus.length < 64) throw malformed(line, "a DNSKEY record without an RSA key");
  return {
    owner,
    flags: flagNumber,
    algorithm,
    keyTag: keyTagOf(Buffer.concat([head, key])),
    modulus: modulus.toString("base64url"),
  };
}

/** A name with its origin, lower-case. */
export function absolute(name: string, origin: string): string {
  const lower = name.toLowerCase();
  if (lower === "@") return origin;
  // An escaped dot at the end belongs to the label.
  if (/(?:^|[^\\])(?:\\\\)*\.$/.test(lower)) return lower;
  return origin === "." ? `${lower}.` : `${lower}.${origin}`;
}

/** One entry: its tokens, over as many lines as its parentheses hold open. */
class Entry {
  readonly line: number;
  readonly tokens: string[] = [];
  hasOwner = false;
  #depth = 0;
  #bytes = 0;

  constructor(line: number) {
    this.line = line;
  }

  get isEmpty(): boolean {
    return this.tokens.length === 0 && this.#depth === 0;
  }

  get isOpen(): boolean {
    return this.#depth > 0;
  }

  add(text: string, line: number): void {
    this.#bytes += text.length;
    if (this.#bytes > maxEntryBytes) throw malformed(this.line, "an entry of more than 1 MiB");
    if (this.isEmpty) this.hasOwner = /^[^\s;()]/.test(text);
    const token = /\s+|;.*|[()]|"((?:[^"\\]|\\.)*)"|((?:[^\s;()"\\]|\\.)+)/suy;
    while (token.lastIndex < text.length) {
      const at = token.lastIndex;
      const found = token.exec(text);
      if (found === null) throw malformed(line, `nothing is understood from column ${at + 1} on`);
      const [whole, quoted, plain] = found;
      if (whole === "(") this.#depth++;
      else if (whole === ")") this.#depth--;
      else if (quoted !== undefined || plain !== undefined) this.tokens.push(quoted ?? plain ?? "");
      if (this.#depth < 0 || this.#depth > 1) throw malformed(line, "parentheses do not match");
    }
  }
}

/** Undefined for an empty line or a directive. */
function recordOf(
  { line, tokens, hasOwner }: Entry,
  state: { origin: string; owner: string },
): ZoneRecord | undefined {
  const [first] = tokens;
  if (first === undefined) return undefined;
  if (hasOwner && first.startsWith("$")) {
    const directive = first.toUpperCase();
    if (directive === "$ORIGIN") state.origin = absolute(tokens[1] ?? "@", state.origin);
    // What is included or generated would be missing without a word.
    else if (directive !== "$TTL") throw malformed(line, `${first} is not understood here`);
    return undefined;
  }
  let at = 0;
  if (hasOwner) {
    state.owner = absolute(first, state.origin);
    at = 1;
  } else if (state.owner === "") throw malformed(line, "the first record has no name");
  while (ttlForm.test(tokens[at] ?? "") || classForm.test(tokens[at] ?? "")) at++;
  const type = tokens[at] ?? "";
  if (!typeForm.test(type)) throw malformed(line, "a record without a type");
  const { owner, origin } = state;
  return { line, owner, type: type.toUpperCase(), data: tokens.slice(at + 1), origin };
}

function numberOf(text: string, most: number, line: number): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number <= most) return number;
  throw malformed(line, `expected a number up to ${most}`);
}

function bytesOf(parts: readonly string[], line: number): Buffer {
  const text = parts.join("");
  const bytes = Buffer.from(text, "base64");
  if (text !== "" && bytes.toString("base64") === text) return bytes;
  throw malformed(line, "expected base64");
}

/** RFC 4034, appendix B. */
function keyTagOf(data: Buffer): number {
  let sum = 0;
  for (const [index, byte] of data.entries()) sum += index % 2 === 0 ? byte << 8 : byte;
  return (sum + ((sum >>> 16) & 0xffff)) & 0xffff;
}

function malformed(line: number, what: string): HsmError {
  return new HsmError("ERR_INVALID_ARGUMENT", `line ${line} of the zone: ${what}`);
}
