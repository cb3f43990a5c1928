/**
 * @module Many message hashes in little memory: a list of their first 16 bytes each. Two messages with one
 * mark take 2^64 tries to make, and hide no more than that their sender made two of them.
 */
const markLength = 16;
const marksPerChunk = 4096;
/** A session has a handful of events, a node millions of messages. */
const marksAtFirst = 4;

export class Marks {
  // Chunks, because one block that grows is copied again and again, and half of it is unused.
  readonly #chunks: Buffer[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  isAt(index: number, hash: string): boolean {
    const at = placeOf(index);
    const mark = this.#chunks[chunkOf(index)]?.toString("hex", at, at + markLength);
    return mark === hash.slice(0, 2 * markLength);
  }

  append(hash: string): void {
    this.#room().write(hash, placeOf(this.#count), markLength, "hex");
    this.#count++;
  }

  appendAll(other: Marks): void {
    for (let index = 0; index < other.#count; index++) {
      const at = placeOf(index);
      other.#chunks[chunkOf(index)]?.copy(this.#room(), placeOf(this.#count), at, at + markLength);
      this.#count++;
    }
  }

  /** The chunk that takes the next mark. */
  #room(): Buffer {
    const index = chunkOf(this.#count);
    const chunk = this.#chunks[index];
    if (chunk !== undefined && placeOf(this.#count) < chunk.length) return chunk;
    const marks = chunk === undefined && index > 0 ? marksPerChunk : marksAtFirst;
    const grown = Buffer.alloc(Math.max(marks * markLength, 2 * (chunk?.length ?? 0)));
    chunk?.copy(grown);
    this.#chunks[index] = grown;
    return grown;
  }
}

function chunkOf(index: number): number {
  return Math.floor(index / marksPerChunk);
}

function placeOf(index: number): number {
  return (index % marksPerChunk) * markLength;
}
