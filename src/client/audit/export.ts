/**
 * @module A history written to a directory, and put back from one. `bounds.json` comes first and says what is
 * to be written, `manifest.json` comes last and says that all is there; an export that was interrupted goes on
 * where it was. The same history gives the same bytes.
 */
import { createHash, hash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { access, mkdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { Equals, IsInt, IsObject, Matches, Min } from "class-validator";
import { HsmError } from "../../errors.js";
import { parseJson, validated } from "../../validate.js";
import type { Entry } from "../../streams/read.js";
import { fileOf, formatEntry, openLines, parseEntry, readBounds } from "./ndjson.js";
import { byStream, keptStreams, type HistorySource, type KeptStream } from "./sources.js";
import type { VerifyProgress } from "./audit-items.js";

/** What an export has of a stream. */
class StreamDigest {
  @IsInt() @Min(0) readonly entries!: number;
  /** Of the lines, unpacked. */
  @Matches(/^[0-9a-f]{64}$/) readonly sha256!: string;
}

class ManifestFile {
  @Equals(1) readonly version!: 1;
  @IsObject() readonly streams!: object;
}

export type Manifest = Readonly<Record<KeptStream, StreamDigest>>;

export interface ExportOptions {
  /** Pack the files with gzip. */
  readonly compress?: boolean;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/**
 * Writes a history into `directory`, which is made if need be. One that was begun is finished as it was begun:
 * what has been stored since is left to the next export.
 * @throws HsmError `ERR_INVALID_ARGUMENT` for a directory with a whole export, `ERR_AUDIT_MISMATCH` for one that
 * was begun from another history
 */
export async function writeHistory(
  source: HistorySource,
  directory: string,
  { compress = false, onProgress }: ExportOptions = {},
): Promise<void> {
  await mkdir(directory, { recursive: true });
  if (await exists(manifestOf(directory))) {
    const text = `${directory} holds a whole export already: name another directory`;
    throw new HsmError("ERR_INVALID_ARGUMENT", text);
  }
  const boundsFile = join(directory, "bounds.json");
  if (!(await exists(boundsFile))) {
    const found = await source.bounds();
    await writeWhole(boundsFile, `${JSON.stringify(found, undefined, 2)}\n`);
  }
  const bounds = await readBounds(boundsFile);
  const total = keptStreams.reduce((sum, stream) => sum + bounds[stream].last, 0);
  let before = 0;
  for (const stream of keptStreams) {
    const { last } = bounds[stream];
    const done = before;
    await writeStream({ source, directory, stream, last, compress }, (seq) =>
      onProgress?.({ done: done + seq, total }),
    );
    before += last;
  }
  await writeManifest(directory);
}

/**
 * Puts an export back into `target`, unpacked, as `exportedHistory` and `writeHistory` read it.
 * @throws HsmError `ERR_AUDIT_MISMATCH` for files that are not what the manifest says,
 * `ERR_INVALID_ARGUMENT` for an export that was not finished or cannot be read
 */
export async function importHistory(directory: string, target: string): Promise<Manifest> {
  const manifest = await readManifest(directory);
  await mkdir(target, { recursive: true });
  if (await exists(manifestOf(target))) {
    const text = `${target} holds a history already: name another directory`;
    throw new HsmError("ERR_INVALID_ARGUMENT", text);
  }
  for (const stream of keptStreams) {
    const part = partOf(target, stream);
    await unpack(directory, stream, part);
    const found = await digestOf(createReadStream(part));
    const { sha256, entries } = manifest[stream];
    if (found.sha256 !== sha256 || found.entries !== entries) {
      await rm(part);
      const text = `${stream} in ${directory} is not what its manifest says: ${found.entries} entries with digest ${found.sha256}, not ${entries} with ${sha256}`;
      throw new HsmError("ERR_AUDIT_MISMATCH", text);
    }
    await rename(part, fileOf(target, stream));
  }
  await writeWhole(join(target, "bounds.json"), await readFile(join(directory, "bounds.json")));
  await writeWhole(manifestOf(target), await readFile(manifestOf(directory)));
  return manifest;
}

/** What an export says that it has. @throws HsmError `ERR_INVALID_ARGUMENT` */
export async function readManifest(directory: string): Promise<Manifest> {
  const file = manifestOf(directory);
  try {
    const plain = parseJson(await readFile(file));
    const { streams } = validated(ManifestFile, plain, "ERR_INVALID_ARGUMENT");
    const fields = new Map<string, unknown>(Object.entries(streams));
    return byStream((stream) =>
      validated(StreamDigest, fields.get(stream), "ERR_INVALID_ARGUMENT"),
    );
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const text = `${file} is not the manifest of a whole export: ${why}`;
    throw new HsmError("ERR_INVALID_ARGUMENT", text, { cause });
  }
}

/** SHA-256 of the manifest itself: it stands for all that was exported. */
export async function manifestDigest(directory: string): Promise<string> {
  return hash("sha256", await readFile(manifestOf(directory)), "hex");
}

interface StreamJob {
  readonly source: HistorySource;
  readonly directory: string;
  readonly stream: KeptStream;
  readonly last: number;
  readonly compress: boolean;
}

async function writeStream(job: StreamJob, onSeq: (seq: number) => void): Promise<void> {
  const { directory, stream, compress } = job;
  const plain = fileOf(directory, stream);
  if ((await exists(plain)) || (await exists(`${plain}.gz`))) return;
  const part = partOf(directory, stream);
  const from = await keptUntil(part, job);
  const lines = Readable.from(linesFrom(job, from, onSeq));
  await pipeline(lines, createWriteStream(part, { flags: "a", flush: true }));
  if (!compress) {
    await rename(part, plain);
    return;
  }
  const packed = `${plain}.gz.part`;
  const out = createWriteStream(packed, { flush: true });
  await pipeline(createReadStream(part), createGzip({ level: 9 }), out);
  await rename(packed, `${plain}.gz`);
  await rm(part);
}

async function* linesFrom(
  { source, stream, last }: StreamJob,
  from: number,
  onSeq: (seq: number) => void,
): AsyncGenerator<string> {
  for await (const entry of source.entries(stream, from)) {
    if (entry.seq > last) return;
    onSeq(entry.seq);
    yield formatEntry(entry);
  }
}

/** Cuts what was written last and not whole. Returns the sequence number to go on with. */
async function keptUntil(part: string, { source, stream }: StreamJob): Promise<number> {
  if (!(await exists(part))) return 1;
  const { end, line } = await lastLine(part);
  await truncate(part, end);
  if (line === undefined) return 1;
  const { seq } = parseEntry(stream, line);
  const again = await firstOf(source.entries(stream, seq));
  if (again === undefined || formatEntry(again) !== `${line}\n`) {
    const text = `${part} was begun from another history: entry ${seq} of ${stream} is not the same`;
    throw new HsmError("ERR_AUDIT_MISMATCH", text);
  }
  return seq + 1;
}

/** Where the last whole line of a file ends, and the line. */
async function lastLine(file: string): Promise<{ end: number; line: string | undefined }> {
  let at = 0;
  let end = 0;
  let rest = "";
  let line: string | undefined;
  for await (const chunk of createReadStream(file, "utf8") as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    line = lines.at(-1) ?? line;
    at += Buffer.byteLength(chunk);
    end = at - Buffer.byteLength(rest);
  }
  return { end, line };
}

async function firstOf(entries: AsyncIterable<Entry>): Promise<Entry | undefined> {
  for await (const entry of entries) return entry;
  return undefined;
}

async function writeManifest(directory: string): Promise<void> {
  const streams: Partial<Record<KeptStream, StreamDigest>> = {};
  for (const stream of keptStreams) {
    streams[stream] = await digestOf(openLines(directory, stream).input);
  }
  const text = JSON.stringify({ version: 1, streams }, undefined, 2);
  await writeWhole(manifestOf(directory), `${text}\n`);
}

async function digestOf(input: Readable): Promise<StreamDigest> {
  const digest = createHash("sha256");
  let entries = 0;
  for await (const chunk of input as AsyncIterable<Buffer>) {
    digest.update(chunk);
    for (const byte of chunk) if (byte === 0x0a) entries++;
  }
  return { entries, sha256: digest.digest("hex") };
}

async function unpack(directory: string, stream: KeptStream, part: string): Promise<void> {
  const { file, input } = openLines(directory, stream);
  try {
    await pipeline(input, createWriteStream(part, { flush: true }));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot read ${file}: ${why}`, { cause });
  }
}

/** All of a small file, or nothing of it. */
async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  const part = `${file}.part`;
  await writeFile(part, content, { flush: true });
  await rename(part, file);
}

function manifestOf(directory: string): string {
  return join(directory, "manifest.json");
}

function partOf(directory: string, stream: KeptStream): string {
  return `${fileOf(directory, stream)}.part`;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
