/**
 * @module The file that the journal is writing. Its place on the disk is taken ahead and filled with spaces: a
 * write into it changes no file size and costs the disk one access instead of a commit of the file system,
 * and every answer of this node waits for a write. What a crash leaves behind shows: where a line should begin
 * stands a space, or spaces stand where a sector of it never came to the disk.
 */
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { writeAll } from "./write-all.js";

/** A write returns when the disk has it: the same as a sync behind it, at one call instead of two. */
const durably = constants.O_WRONLY | constants.O_DSYNC;
const filler = 32;
const newline = 10;
const chunk = Buffer.alloc(256 << 10, filler);
/** No line has so many spaces in a row, and no disk tears smaller pieces out of a write. */
const sector = Buffer.alloc(512, filler);
/** Who says less needs no haste. */
const appendsBeforeFilling = 16;

export class SegmentFile {
  readonly path: string;
  readonly #file: FileHandle;
  #size: number;
  /** Up to here the file is written or filled. */
  #filled: number;
  #filling: Promise<void> | undefined;
  #appends = 0;

  private constructor(path: string, file: FileHandle, size: number) {
    this.path = path;
    this.#file = file;
    this.#size = size;
    this.#filled = size;
  }

  /** @throws the system's error when there is such a file */
  static async create(path: string): Promise<SegmentFile> {
    const file = await open(path, durably | constants.O_CREAT | constants.O_EXCL, 0o600);
    return new SegmentFile(path, file, 0);
  }

  /** Goes on behind what the file has: `cutUnfinished` comes first. */
  static async open(path: string): Promise<SegmentFile> {
    const file = await open(path, durably);
    return new SegmentFile(path, file, (await file.stat()).size);
  }

  /** Bytes that are on disk. */
  get size(): number {
    return this.#size;
  }

  /** Resolves when the disk has it, with the place where it begins. One at a time. */
  async append(bytes: Uint8Array): Promise<number> {
    // What is being filled must not fall upon what is written.
    if (this.#size + bytes.length > this.#filled) await this.#filling;
    const offset = this.#size;
    await writeAll(this.#file, bytes, offset);
    this.#size += bytes.length;
    this.#filled = Math.max(this.#filled, this.#size);
    this.#appends += 1;
    if (this.#appends >= appendsBeforeFilling) this.#startFilling();
    return offset;
  }

  /** Leaves nothing but whole lines. */
  async close(): Promise<void> {
    await this.#filling;
    try {
      await this.#file.truncate(this.#size);
      await this.#file.sync();
    } finally {
      await this.#file.close();
    }
  }

  #startFilling(): void {
    if (this.#filling !== undefined || this.#filled - this.#size > chunk.length / 2) return;
    this.#filling = this.#fill().finally(() => {
      this.#filling = undefined;
    });
  }

  async #fill(): Promise<void> {
    try {
      await writeAll(this.#file, chunk, this.#filled);
      this.#filled += chunk.length;
    } catch {
      // A disk that is full says so at the next message too.
    }
  }
}

/**
 * Where the whole lines end: behind them is nothing, or what was never released, because a message is published
 * only after its whole line is on disk.
 */
export function endOfLines(bytes: Buffer): number {
  const hole = bytes.indexOf(sector);
  for (let from = 0; ;) {
    const to = bytes.indexOf(newline, from);
    if (to < 0 || bytes[from] === filler || (hole >= from && hole < to)) return from;
    from = to + 1;
  }
}

/** Cuts what a crash left behind the whole lines. Returns how many bytes of messages were cut. */
export async function cutUnfinished(path: string): Promise<number> {
  const file = await open(path, "r+");
  try {
    const bytes = await file.readFile();
    const end = endOfLines(bytes);
    if (end === bytes.length) return 0;
    await file.truncate(end);
    await file.sync();
    return bytes.subarray(end).filter((byte) => byte !== filler).length;
  } finally {
    await file.close();
  }
}
