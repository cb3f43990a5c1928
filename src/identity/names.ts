/** @module Which names can be subject tokens, file names and TOML keys at once. */

/** Members, tokens, sessions and request ids. */
export const memberName: RegExp = /^[A-Za-z0-9_-]{1,64}$/;

/** NATS user NKeys (the key that logs in, not the identity key). */
export const userNKey: RegExp = /^U[A-Z2-7]{55}$/;

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The 32 bytes of the Ed25519 key in a public NKey: between its type byte and its checksum. */
export function nkeyBytes(nkey: string): Uint8Array {
  const bits = nkey.replace(/./g, (one) => base32.indexOf(one).toString(2).padStart(5, "0"));
  return Uint8Array.from({ length: 32 }, (_, i) =>
    Number.parseInt(bits.slice(8 * i + 8, 8 * i + 16), 2),
  );
}

/** Whether what goes to this host stays on this machine. */
export function isLoopback(host: string): boolean {
  return ["localhost", "::1", "[::1]"].includes(host) || /^127(\.\d{1,3}){3}$/.test(host);
}
