/**
 * @module What a person asks about: a request id, a signature in base64, or an RRSIG record as a zone file
 * or `dig` shows it.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { HsmError } from "../../errors.js";
import { absolute, rrsigOf, zoneRecords, type Rrsig } from "./master-file.js";

/** Which signings are meant. */
export type Question =
  | { readonly rid: string }
  /** `signature` in base64url. */
  | { readonly signature: string; readonly rrsig?: Rrsig };

const ridForm = /^[A-Za-z0-9_-]{22}$/;
const base64Form = /^[A-Za-z0-9+/_-]{86,1400}={0,2}$/;

/** @throws HsmError `ERR_INVALID_ARGUMENT` for what is none of the three */
export async function parseQuestion(text: string): Promise<Question> {
  const trimmed = text.trim();
  if (ridForm.test(trimmed)) return { rid: trimmed };
  // A signature that was broken over lines, as openssl and `dig +multiline` print it.
  const joined = trimmed.replaceAll(/\s/g, "");
  if (base64Form.test(joined) && !/\bRRSIG\b/i.test(trimmed)) {
    return { signature: Buffer.from(joined, "base64").toString("base64url") };
  }
  const rdata = /^(?:(.*?)\s)?RRSIG\s/is.exec(trimmed);
  if (rdata === null) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      "expected a request id (22 characters), a signature in base64, or an RRSIG record",
    );
  }
  // Copied without its name, it still has the signature.
  const line = (rdata[1] ?? "").trim() === "" ? `. ${trimmed}` : trimmed;
  for await (const record of zoneRecords(line.split("\n"))) return ofRecord(rrsigOf(record));
  throw new HsmError("ERR_INVALID_ARGUMENT", "that is a comment, not an RRSIG record");
}

/** The RRSIGs of a name and type in a zone file. @throws HsmError `ERR_INVALID_ARGUMENT` for none */
export async function questionsOfZone(
  file: string,
  { owner, type, keyTag }: { owner: string; type: string; keyTag?: number },
): Promise<Question[]> {
  const questions: Question[] = [];
  let apex = ".";
  for await (const record of readZone(file)) {
    if (record.type === "SOA") apex = record.owner;
    if (record.type !== "RRSIG") continue;
    const rrsig = rrsigOf(record);
    // Typed by a person: `www`, `www.example.org` and `www.example.org.` are the same.
    const isOwner = [absolute(owner, apex), absolute(owner, ".")].includes(rrsig.owner);
    const isTag = keyTag === undefined || rrsig.keyTag === keyTag;
    if (isOwner && isTag && rrsig.covered === type.toUpperCase()) questions.push(ofRecord(rrsig));
  }
  if (questions.length > 0) return questions;
  const by = keyTag === undefined ? "" : ` by key ${keyTag}`;
  const text = `${file} has no RRSIG of ${owner} ${type.toUpperCase()}${by}`;
  throw new HsmError("ERR_INVALID_ARGUMENT", text);
}

/** The records of a zone file. @throws HsmError `ERR_INVALID_ARGUMENT` */
export async function* readZone(file: string): ReturnType<typeof zoneRecords> {
  const input = createReadStream(file, "utf8");
  try {
    yield* zoneRecords(createInterface({ input, crlfDelay: Infinity }));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot read ${file}: ${why}`, { cause });
  } finally {
    input.destroy();
  }
}

function ofRecord(rrsig: Rrsig): Question {
  return { signature: rrsig.signature, rrsig };
}
