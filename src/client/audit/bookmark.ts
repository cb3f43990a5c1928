/**
 * @module A bookmark: an auditor's signed word how far it has read and what it saw there, in a file of two
 * lines, a JSON object and a signature. Whoever can change the file but has not the auditor's identity
 * key cannot make a later audit skip anything.
 */
import { readFile, rename, unlink, writeFile } from "node:fs/promises";
import {
  ArrayMaxSize,
  Equals,
  IsArray,
  IsBoolean,
  IsInt,
  IsObject,
  Matches,
  Min,
} from "class-validator";
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { fromBase64url, toBase64url } from "../../identity/encoding.js";
import type { IdentityKey } from "../../identity/identity-key.js";
import { memberName } from "../../identity/names.js";
import { parseJson, validated } from "../../validate.js";
import type { Mark, Position } from "./positions.js";
import { byStream, type KeptStream } from "./sources.js";

const domain = "thsm/v1 bookmark\0";
const maxAgain = 100_000;

class BookmarkFile {
  @Equals(1) readonly version!: number;
  @Matches(memberName) readonly cluster!: string;
  @Matches(memberName) readonly auditor!: string;
  @Matches(/^\d{4}-[\d-]+T[\d:.]+Z$/) readonly time!: string;
  @IsBoolean() readonly recombined!: boolean;
  @IsObject() readonly streams!: Partial<Record<KeptStream, object>>;
  @IsObject() readonly again!: Partial<Record<KeptStream, unknown>>;
}

class PositionFields {
  @IsInt() @Min(0) readonly seq!: number;
  @Matches(/^[0-9a-f]{64}$/) readonly digest!: string;
}

class AgainFields {
  @IsArray() @ArrayMaxSize(maxAgain) @IsInt({ each: true }) readonly seqs!: number[];
}

/** Whose bookmark it is. */
export interface Bookkeeper {
  readonly cluster: Cluster;
  readonly auditor: string;
}

/**
 * The mark in a file; undefined when there is no file.
 * @throws HsmError `ERR_UNTRUSTED_FILE` unless the auditor of this cluster signed it
 */
export async function readBookmark(
  path: string,
  { cluster, auditor }: Bookkeeper,
): Promise<Mark | undefined> {
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot read the bookmark ${path}`, { cause });
  }
  const [line = "", signature = ""] = text.split("\n");
  const { identity } = cluster.find("auditor", auditor) ?? {};
  if (identity?.verify(signedBytes(line), bytesOf(signature)) !== true) {
    throw new HsmError(
      "ERR_UNTRUSTED_FILE",
      `the bookmark ${path} is not signed by auditor ${auditor} of cluster ${cluster.name}; remove it to begin anew`,
    );
  }
  const file = validated(BookmarkFile, parseJson(Buffer.from(line)), "ERR_INVALID_ARGUMENT");
  if (file.cluster !== cluster.name || file.auditor !== auditor) {
    const owner = `auditor ${file.auditor} of cluster ${file.cluster}`;
    throw new HsmError("ERR_UNTRUSTED_FILE", `the bookmark ${path} is that of ${owner}`);
  }
  const { time, recombined } = file;
  const position = (stream: KeptStream): Position =>
    validated(PositionFields, file.streams[stream], "ERR_INVALID_ARGUMENT");
  const again = (stream: KeptStream): number[] =>
    validated(AgainFields, { seqs: file.again[stream] }, "ERR_INVALID_ARGUMENT").seqs;
  return { time, recombined, streams: byStream(position), again: byStream(again) };
}

/** Replaces the file at once: a crash leaves the old bookmark or the new one. */
export async function writeBookmark(
  path: string,
  mark: Mark,
  { cluster, auditor }: Bookkeeper,
  key: IdentityKey,
): Promise<void> {
  const { time, recombined, streams, again } = mark;
  if (Object.values(again).some((seqs) => seqs.length > maxAgain)) {
    throw new HsmError("ERR_INVALID_ARGUMENT", "too much is wrong to be remembered in a bookmark");
  }
  const head = { version: 1, cluster: cluster.name, auditor };
  const line = JSON.stringify({ ...head, time, recombined, streams, again });
  const signature = toBase64url(key.sign(signedBytes(line)));
  const draft = `${path}.${process.pid}`;
  try {
    await writeFile(draft, `${line}\n${signature}\n`, { flush: true });
    await rename(draft, path);
  } catch (cause) {
    await unlink(draft).catch(() => undefined);
    throw new HsmError("ERR_INVALID_ARGUMENT", `cannot write the bookmark ${path}`, { cause });
  }
}

function signedBytes(line: string): Buffer {
  return Buffer.from(domain + line, "utf8");
}

function bytesOf(signature: string): Uint8Array {
  try {
    return fromBase64url(signature, "signature");
  } catch {
    return new Uint8Array();
  }
}
