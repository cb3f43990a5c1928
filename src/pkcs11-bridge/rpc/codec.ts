/** @module The protocol's primitive values: big-endian numbers, and strings with two bytes of length. */
import { HsmError } from "../../errors.js";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads values from a payload. Every step throws `ERR_INVALID_MESSAGE` beyond the end. */
export class Reader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(payload: Uint8Array) {
    this.#bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  }

  u8(): number {
    return this.fixed(1).readUInt8();
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new HsmError("ERR_INVALID_MESSAGE", `${value} is no boolean`);
    return value === 1;
  }

  u16(): number {
    return this.fixed(2).readUInt16BE();
  }

  u32(): number {
    return this.fixed(4).readUInt32BE();
  }

  u64(): bigint {
    return this.fixed(8).readBigUInt64BE();
  }

  /** Exactly `size` bytes, as a view of the payload. */
  fixed(size: number): Buffer {
    const end = this.#offset + size;
    if (end > this.#bytes.length) throw new HsmError("ERR_INVALID_MESSAGE", "payload ends early");
    const view = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return view;
  }

  /** A string of bytes, copied: it outlives the payload. */
  bytes(): Buffer {
    return Buffer.from(this.fixed(this.u16()));
  }

  /** A string of UTF-8. */
  text(): string {
    try {
      return strictUtf8.decode(this.bytes());
    } catch (cause) {
      throw new HsmError("ERR_INVALID_MESSAGE", "text is not UTF-8", { cause });
    }
  }

  /** To be called after the last value: nothing may be left. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left > 0) throw new HsmError("ERR_INVALID_MESSAGE", `${left} bytes too many`);
  }
}

/** Builds a payload. Values out of range are programming mistakes and throw `RangeError`. */
export class Writer {
  readonly #pieces: Buffer[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  u8(value: number): this {
    const piece = Buffer.alloc(1);
    piece.writeUInt8(value);
    return this.fixed(piece);
  }

  u16(value: number): this {
    const piece = Buffer.alloc(2);
    piece.writeUInt16BE(value);
    return this.fixed(piece);
  }

  u32(value: number): this {
    const piece = Buffer.alloc(4);
    piece.writeUInt32BE(value);
    return this.fixed(piece);
  }

  u64(value: bigint): this {
    const piece = Buffer.alloc(8);
    piece.writeBigUInt64BE(value);
    return this.fixed(piece);
  }

  fixed(bytes: Uint8Array): this {
    this.#pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    this.#size += bytes.length;
    return this;
  }

  bytes(value: Uint8Array): this {
    return this.u16(value.length).fixed(value);
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value, "utf8"));
  }

  finish(): Buffer {
    return Buffer.concat(this.#pieces, this.#size);
  }
}
