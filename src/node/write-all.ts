/** @module A write may take less than it is given. */
import type { FileHandle } from "node:fs/promises";

/** Writes all of `bytes` from `position` on. @throws the system's error */
export async function writeAll(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
