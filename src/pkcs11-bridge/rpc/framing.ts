/**
 * @module Frames of the module's protocol: four bytes of length, big-endian, then the payload
 * (docs/pkcs11-protocol.md).
 */
import { HsmError } from "../../errors.js";

/** Requests are short; a daemon that reads more than this from a stranger wastes its memory. */
export const maxRequestBytes: number = 64 * 1024;

/** The frame around a payload. */
export function frame(payload: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  return Buffer.concat([length, payload]);
}

/** Cuts a byte stream into payloads. Memory is taken for bytes that came, not for lengths announced. */
export class FrameReader {
  readonly #maxBytes: number;
  #pending: Buffer = Buffer.alloc(0);

  constructor(maxBytes: number = maxRequestBytes) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a frame has begun and not ended. */
  get isPartial(): boolean {
    return this.#pending.length > 0;
  }

  /**
   * The payloads that `chunk` completes.
   * @throws HsmError `ERR_INVALID_MESSAGE` for an empty or too long frame.
   */
  push(chunk: Uint8Array): Buffer[] {
    let rest = this.isPartial ? Buffer.concat([this.#pending, chunk]) : Buffer.from(chunk);
    const payloads: Buffer[] = [];
    while (rest.length >= 4) {
      const length = rest.readUInt32BE();
      if (length < 1 || length > this.#maxBytes) {
        throw new HsmError("ERR_INVALID_MESSAGE", `frame of ${length} bytes`);
      }
      if (rest.length < 4 + length) break;
      payloads.push(rest.subarray(4, 4 + length));
      rest = rest.subarray(4 + length);
    }
    this.#pending = rest;
    return payloads;
  }
}
