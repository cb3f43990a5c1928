/**
 * @module What stays of a request once it is judged: that its id is taken, and who may still answer. About 35
 * bytes each, because a history has millions: a hash table with open addressing.
 */
import { randomBytes } from "node:crypto";

/** client 2 ‖ request id 18 ‖ parties that have not answered 4 ‖ whether an event closed it 1 */
const recordLength = 25;
const idLength = 20;
const owedAt = 20;
const closedAt = 24;
const recordsPerChunk = 2048;

/** A request id is one client's: another's with the same letters is another request. */
interface Name {
  readonly client: string;
  readonly rid: string;
}

export class Settled {
  readonly #chunks: Buffer[] = [];
  readonly #clients = new Map<string, number>();
  // Clients choose request ids. Where they go must not be theirs to choose.
  readonly #seed = randomBytes(4).readUInt32LE();
  /** Record number + 1, 0 for an empty slot. Never more than two thirds full. */
  #slots = new Uint32Array(1024);
  #count = 0;

  /** `owed`: parties that were asked and have not answered. */
  add(name: Name, isClosed: boolean, owed: readonly number[]): void {
    if (3 * (this.#count + 1) > 2 * this.#slots.length) this.#grow();
    if (this.#count % recordsPerChunk === 0) {
      this.#chunks.push(Buffer.alloc(recordsPerChunk * recordLength));
    }
    const id = this.#idOf(name);
    const record = this.#record(this.#count);
    id.copy(record);
    record.writeUInt32LE(maskOf(owed), owedAt);
    record.writeUInt8(Number(isClosed), closedAt);
    this.#slots[this.#slotOf(id)] = ++this.#count;
  }

  has(name: Name): boolean {
    return this.#find(name) !== undefined;
  }

  /** Whether an event had closed the request; from now on one has. */
  close(name: Name): boolean {
    const record = this.#find(name);
    const wasClosed = record?.readUInt8(closedAt) === 1;
    record?.writeUInt8(1, closedAt);
    return wasClosed;
  }

  /** Whether the party had not answered when the request was let go; now it has. */
  takeOwed(name: Name, party: number): boolean {
    const record = this.#find(name);
    const owed = record?.readUInt32LE(owedAt) ?? 0;
    const bit = maskOf([party]);
    if ((owed & bit) === 0) return false;
    record?.writeUInt32LE((owed ^ bit) >>> 0, owedAt);
    return true;
  }

  #find(name: Name): Buffer | undefined {
    const found = this.#slots[this.#slotOf(this.#idOf(name))] ?? 0;
    return found === 0 ? undefined : this.#record(found - 1);
  }

  #idOf({ client, rid }: Name): Buffer {
    let number = this.#clients.get(client);
    if (number === undefined) this.#clients.set(client, (number = this.#clients.size));
    const id = Buffer.alloc(idLength);
    id.writeUInt16LE(number);
    // 22 letters are 132 bits: with two more, whole bytes.
    id.write(`${rid}AA`, 2, "base64url");
    return id;
  }

  /** Where the id is, or would go. */
  #slotOf(id: Buffer): number {
    const mask = this.#slots.length - 1;
    let slot = this.#scatter(id) & mask;
    for (;;) {
      const found = this.#slots[slot] ?? 0;
      if (found === 0 || id.equals(this.#record(found - 1).subarray(0, idLength))) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #scatter(id: Buffer): number {
    let hash = this.#seed;
    for (let at = 0; at < idLength; at += 4) {
      hash = Math.imul(hash ^ id.readUInt32LE(at), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash >>> 0;
  }

  #record(index: number): Buffer {
    const at = (index % recordsPerChunk) * recordLength;
    const chunk = this.#chunks[Math.floor(index / recordsPerChunk)];
    if (chunk === undefined) throw new RangeError(`no record ${index}`);
    return chunk.subarray(at, at + recordLength);
  }

  #grow(): void {
    this.#slots = new Uint32Array(2 * this.#slots.length);
    for (let index = 0; index < this.#count; index++) {
      this.#slots[this.#slotOf(this.#record(index).subarray(0, idLength))] = index + 1;
    }
  }
}

/** A bit for each of at most 32 parties. */
function maskOf(parties: readonly number[]): number {
  return parties.reduce((mask, party) => (mask | (1 << (party - 1))) >>> 0, 0);
}
