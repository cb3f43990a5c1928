/**
 * @module Claims of signatures on their way to another thread: one block of bytes that changes hands. Each is
 * `member 2 ‖ length 2 ‖ signature 64 ‖ signed bytes`.
 */
import type { Member } from "../../identity/cluster.js";
import { IdentityPublicKey } from "../../identity/identity-key.js";
import { fromBase64url } from "../../identity/encoding.js";
import type { SignatureClaim } from "../../streams/envelope.js";

const headLength = 4;
const signatureLength = 64;

/** The claims of which there are any, in a block of its own. */
export function packClaims(
  members: readonly Member[],
  claims: readonly (SignatureClaim | undefined)[],
): Uint8Array<ArrayBuffer> {
  const each = headLength + signatureLength;
  const size = claims.reduce((sum, claim) => sum + (claim ? each + claim.signed.length : 0), 0);
  const packed = Buffer.from(new ArrayBuffer(size));
  let at = 0;
  for (const claim of claims) {
    if (claim === undefined) continue;
    packed.writeUInt16LE(members.indexOf(claim.member), at);
    packed.writeUInt16LE(claim.signed.length, at + 2);
    packed.set(claim.signature, at + headLength);
    packed.set(claim.signed, at + each);
    at += each + claim.signed.length;
  }
  return new Uint8Array(packed.buffer);
}

/** Whether each of the packed claims is true. `identities`: the members' public keys as text. */
export function verifyClaims(identities: readonly string[], packed: Uint8Array): boolean[] {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length);
  const verified: boolean[] = [];
  for (let at = 0; at < bytes.length;) {
    const key = identityOf(identities[bytes.readUInt16LE(at)] ?? "");
    const length = bytes.readUInt16LE(at + 2);
    const signature = bytes.subarray(at + headLength, (at += headLength + signatureLength));
    verified.push(key.verify(bytes.subarray(at, (at += length)), signature));
  }
  return verified;
}

const known = new Map<string, IdentityPublicKey>();

function identityOf(text: string): IdentityPublicKey {
  let key = known.get(text);
  if (key === undefined) {
    known.set(text, (key = new IdentityPublicKey(fromBase64url(text, "identity"))));
  }
  return key;
}
