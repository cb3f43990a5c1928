/**
 * @module A history in a directory: `bounds.json`, and one file a stream, `<stream>.ndjson` or `.ndjson.gz`, with
 * one object a line: {seq, time, subject, payload, signature}. The same history gives the same bytes.
 * Nothing in it needs protection: an audit trusts it no more than it trusts a server.
 */
import { createReadStream, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { IsIn, IsInt, IsObject, IsOptional, IsString, Min } from "class-validator";
import { HsmError, type HsmErrorCode } from "../../errors.js";
import { assembleMessage } from "../../streams/envelope.js";
import type { Entry } from "../../streams/read.js";
import { parseSubject } from "../../streams/subjects.js";
import { parseJson, validated } from "../../validate.js";
import { fromBase64url, toBase64url } from "../../identity/encoding.js";
import { byStream, type HistoryBounds, type HistorySource, type KeptStream } from "./sources.js";

/** A line of an export. */
class Line {
  @IsInt() @Min(1) readonly seq!: number;
  @IsOptional() @IsString() readonly time?: string;
  @IsOptional() @IsString() readonly subject?: string;
  @IsOptional() @IsString() readonly payload?: string;
  /** Instead of `payload` for bytes that are not UTF-8. */
  @IsOptional() @IsString() readonly payloadBase64url?: string;
  @IsOptional() @IsString() readonly signature?: string;
  /** Instead of all others: why the bytes at this place are no message. */
  @IsOptional() @IsString() readonly junk?: string;
  /** With `junk`: what kind of error that is, if not ERR_INVALID_MESSAGE. */
  @IsOptional() @IsIn(["ERR_INVALID_SIGNATURE", "ERR_BROKER"]) readonly code?: HsmErrorCode;
}

class Bounds {
  @IsInt() @Min(1) readonly first!: number;
  @IsInt() @Min(0) readonly settled!: number;
  @IsInt() @Min(0) readonly last!: number;
}

class BoundsFile {
  @IsObject() readonly THSM_KEY!: object;
  @IsObject() readonly THSM_REQ!: object;
  @IsObject() readonly THSM_SHARE!: object;
  @IsObject() readonly THSM_AUDIT!: object;
}

const plainJunk = "ERR_INVALID_MESSAGE";
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The history that `writeHistory` left in `directory`. */
export function exportedHistory(directory: string): HistorySource {
  let found: Promise<HistoryBounds> | undefined;
  return {
    bounds: () => (found ??= readBounds(join(directory, "bounds.json"))),
    entries: (stream, from) => readEntries(stream, directory, from),
  };
}

/** One line of an export, with its line feed. */
export function formatEntry(entry: Entry): string {
  const { seq } = entry;
  if ("junk" in entry) {
    const { message: junk, code } = entry.junk;
    return `${JSON.stringify({ seq, junk, ...(code === plainJunk ? {} : { code }) })}\n`;
  }
  const { time, subject, payload, signature } = entry.message;
  const line = JSON.stringify({ seq, time, subject, ...payloadFields(payload), signature });
  // JSON leaves these two alone, but readers of lines may take them for ends.
  return `${line.replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029")}\n`;
}

/** The entry in a line of an export. @throws HsmError `ERR_INVALID_ARGUMENT` for anything else. */
export function parseEntry(stream: KeptStream, line: string): Entry {
  const fields = validated(Line, plainOf(line), "ERR_INVALID_ARGUMENT");
  const { seq, time = "", subject = "", signature = "", junk } = fields;
  if (junk !== undefined) return { seq, junk: new HsmError(fields.code ?? plainJunk, junk) };
  try {
    parseSubject(subject);
    const signed = assembleMessage(stream, subject, payloadOf(fields), signature);
    return { seq, message: { ...signed, seq, time } };
  } catch (error) {
    if (error instanceof HsmError) return { seq, junk: error };
    throw error;
  }
}

async function* readEntries(
  stream: KeptStream,
  directory: string,
  from = 1,
): AsyncGenerator<Entry> {
  const { file, input } = openLines(directory, stream);
  try {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) {
      const entry = parseEntry(stream, line);
      if (entry.seq >= from) yield entry;
    }
  } catch (cause) {
    throw unreadable(file, cause);
  } finally {
    input.destroy();
  }
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` */
export async function readBounds(file: string): Promise<HistoryBounds> {
  try {
    const plain = parseJson(await readFile(file));
    const streams = validated(BoundsFile, plain, "ERR_INVALID_ARGUMENT");
    const of = (stream: KeptStream): Bounds =>
      validated(Bounds, streams[stream], "ERR_INVALID_ARGUMENT");
    return byStream(of);
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function payloadFields(payload: Uint8Array): { payload: string } | { payloadBase64url: string } {
  try {
    return { payload: utf8.decode(payload) };
  } catch {
    return { payloadBase64url: toBase64url(payload) };
  }
}

function payloadOf({ payload, payloadBase64url }: Line): Uint8Array {
  return payloadBase64url === undefined
    ? Buffer.from(payload ?? "", "utf8")
    : fromBase64url(payloadBase64url, "payload");
}

function plainOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new HsmError("ERR_INVALID_MESSAGE", "line is not JSON", { cause });
  }
}

/** A stream's file. */
export function fileOf(directory: string, stream: KeptStream): string {
  return join(directory, `${stream}.ndjson`);
}

/** A stream's lines, out of whichever file it has. A file that is not there fails when it is read. */
export function openLines(
  directory: string,
  stream: KeptStream,
): { readonly file: string; readonly input: Readable } {
  const plain = fileOf(directory, stream);
  const packed = `${plain}.gz`;
  if (existsSync(plain) || !existsSync(packed)) {
    return { file: plain, input: createReadStream(plain) };
  }
  const unpacked = createGunzip();
  // An error of the one is an error of the other; both are closed with the reader.
  pipeline(createReadStream(packed), unpacked, () => undefined);
  return { file: packed, input: unpacked };
}

function unreadable(file: string, cause: unknown): HsmError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HsmError("ERR_INVALID_ARGUMENT", `cannot read ${file}: ${why}`, { cause });
}
