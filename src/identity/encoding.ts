/** @module base64url and hex, strict: one text per byte string, so that texts can be compared. */
import { HsmError } from "../errors.js";

export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** @throws HsmError `ERR_INVALID_MESSAGE` unless `text` is exactly what `toBase64url` writes. */
export function fromBase64url(text: string, title: string): Uint8Array {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.toString("base64url") !== text) {
    throw new HsmError("ERR_INVALID_MESSAGE", `${title} is not canonical base64url`);
  }
  return bytes;
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** @throws HsmError `ERR_INVALID_MESSAGE` unless `text` is lower-case hex of whole bytes. */
export function fromHex(text: string, title: string): Uint8Array {
  const bytes = Buffer.from(text, "hex");
  if (bytes.toString("hex") !== text) {
    throw new HsmError("ERR_INVALID_MESSAGE", `${title} is not lower-case hex`);
  }
  return bytes;
}
