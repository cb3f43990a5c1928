/**
 * @module What this node has seen THSM_REQ hold, on its own disk: for each sequence number the hash of the
 * message, at its place in one file, with a checksum. A record counts when its checksum is right: what a
 * crash has torn was never acknowledged, comes again, and is written again.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import type { HsmError } from "../errors.js";
import { syncDirectory } from "../identity/secret-file.js";
import { GroupCommit } from "./group-commit.js";
import { writeAll } from "./write-all.js";

const hashLength = 32;
const recordLength = 2 * hashLength;
const domain = Buffer.from("thsm/v1 leaf\0");
/**
 * One sync serves all that comes within this time. Nobody waits for it but the acknowledgement, and the disk
 * that this node's answers wait for is left alone; a kill costs that many requests being delivered again.
 */
const defaultGatherMs = 250;
const recordsAtOnce = 4096;

/** A sequence number's message hash, lower-case hex; "" where the stream has no message of ours. */
export interface Leaf {
  readonly seq: number;
  readonly hash: string;
}

export interface LeafFileOptions {
  readonly path: string;
  /** How long a sync waits for more. */
  readonly gatherMs?: number | undefined;
  /** Called once when the disk fails: what it has is unknown then, the process must end. */
  readonly onFailure: (error: HsmError) => void;
}

export class LeafFile {
  readonly #file: FileHandle;
  readonly #commits: GroupCommit<Leaf, void>;

  private constructor(
    file: FileHandle,
    { onFailure, gatherMs = defaultGatherMs }: LeafFileOptions,
  ) {
    this.#file = file;
    this.#commits = new GroupCommit({
      what: "the record of requests",
      gatherMs,
      write: (leaves) => this.#write(leaves),
      onFailure,
    });
  }

  static async open(options: LeafFileOptions): Promise<LeafFile> {
    const { path } = options;
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    await syncDirectory(dirname(path));
    return new LeafFile(file, options);
  }

  /** Resolves when the leaf is on disk. @throws HsmError `ERR_JOURNAL`, `ERR_ABORTED` after `close` */
  write(leaf: Leaf): Promise<void> {
    return this.#commits.add(leaf);
  }

  /** Undefined for what was never written. */
  async read(seq: number): Promise<Leaf | undefined> {
    const { buffer, bytesRead } = await this.#file.read(
      Buffer.alloc(recordLength),
      0,
      recordLength,
      placeOf(seq),
    );
    return bytesRead === recordLength ? leafOf(seq, buffer) : undefined;
  }

  /** Everything from `from` on, in order. */
  async *since(from: number): AsyncGenerator<Leaf> {
    const length = recordsAtOnce * recordLength;
    for (let seq = from; ; seq += recordsAtOnce) {
      const { buffer, bytesRead } = await this.#file.read(
        Buffer.alloc(length),
        0,
        length,
        placeOf(seq),
      );
      for (let at = 0; at + recordLength <= bytesRead; at += recordLength) {
        const leaf = leafOf(seq + at / recordLength, buffer.subarray(at, at + recordLength));
        if (leaf !== undefined) yield leaf;
      }
      if (bytesRead < length) return;
    }
  }

  async close(): Promise<void> {
    await this.#commits.close();
    await this.#file.close();
  }

  async #write(leaves: readonly Leaf[]): Promise<void[]> {
    for (const run of runsOf(leaves)) {
      await writeAll(this.#file, Buffer.concat(run.map(recordOf)), placeOf(run[0]?.seq ?? 1));
    }
    await this.#file.datasync();
    return leaves.map(() => undefined);
  }
}

function placeOf(seq: number): number {
  return (seq - 1) * recordLength;
}

function recordOf({ seq, hash }: Leaf): Buffer {
  const bytes = Buffer.alloc(hashLength);
  bytes.write(hash, "hex");
  return Buffer.concat([bytes, checksum(seq, bytes)]);
}

function leafOf(seq: number, record: Buffer): Leaf | undefined {
  const bytes = record.subarray(0, hashLength);
  if (!checksum(seq, bytes).equals(record.subarray(hashLength))) return undefined;
  const hash = bytes.toString("hex");
  return { seq, hash: /^0+$/.test(hash) ? "" : hash };
}

function checksum(seq: number, bytes: Uint8Array): Buffer {
  return createHash("sha256").update(domain).update(`${seq}\0`).update(bytes).digest();
}

/** In pieces without a gap, so that each takes one write. */
function runsOf(leaves: readonly Leaf[]): Leaf[][] {
  const runs: Leaf[][] = [];
  for (const leaf of leaves.toSorted((one, other) => one.seq - other.seq)) {
    const run = runs.at(-1);
    if (run?.at(-1)?.seq === leaf.seq - 1) run.push(leaf);
    else runs.push([leaf]);
  }
  return runs;
}
