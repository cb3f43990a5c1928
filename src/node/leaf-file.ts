/**
 * @module What this node has seen THSM_REQ hold, on its own disk: for each sequence number the hash of the
 * message, at its place in one file, with a checksum. A record counts when its checksum is right: what a
 * crash has torn was never acknowledged, comes again, and is written again.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HsmError } from "../errors.js";
import { syncDirectory } from "../identity/secret-file.js";

const hashLength = 32;
const recordLength = 2 * hashLength;
const domain = Buffer.from("thsm/v1 leaf\0");
/** One sync serves all that comes within this time: nobody waits for it but the acknowledgement. */
const gatherMs = 20;
const recordsAtOnce = 4096;

/** A sequence number's message hash, lower-case hex; "" where the stream has no message of ours. */
export interface Leaf {
  readonly seq: number;
  readonly hash: string;
}

interface Pending {
  readonly leaf: Leaf;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LeafFile {
  readonly #file: FileHandle;
  readonly #onFailure: (error: HsmError) => void;
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  #failure: HsmError | undefined;

  private constructor(file: FileHandle, onFailure: (error: HsmError) => void) {
    this.#file = file;
    this.#onFailure = onFailure;
  }

  /** `onFailure` is called once when the disk fails: what it has is unknown then, the process must end. */
  static async open(path: string, onFailure: (error: HsmError) => void): Promise<LeafFile> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    await syncDirectory(dirname(path));
    return new LeafFile(file, onFailure);
  }

  /** Resolves when the leaf is on disk. @throws HsmError `ERR_JOURNAL` */
  write(leaf: Leaf): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#pending.push({ leaf, resolve, reject });
      this.#writing ??= this.#write();
    });
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
    await this.#writing;
    this.#failure ??= new HsmError("ERR_ABORTED", "the record of requests is closed");
    await this.#file.close();
  }

  async #write(): Promise<void> {
    let batch: Pending[] = [];
    try {
      while (this.#pending.length > 0) {
        await delay(gatherMs);
        batch = this.#pending;
        this.#pending = [];
        for (const run of runsOf(batch.map(({ leaf }) => leaf))) {
          const bytes = Buffer.concat(run.map(recordOf));
          await this.#file.write(bytes, 0, bytes.length, placeOf(run[0]?.seq ?? 1));
        }
        await this.#file.datasync();
        for (const { resolve } of batch) resolve();
      }
    } catch (cause) {
      this.#failure = new HsmError("ERR_JOURNAL", "the record of requests cannot be written", {
        cause,
      });
      for (const { reject } of [...batch, ...this.#pending]) reject(this.#failure);
      this.#onFailure(this.#failure);
    } finally {
      this.#writing = undefined;
    }
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
