/** @module Messages to store, for the tests of this folder. */
import { randomBytes } from "node:crypto";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { signMessage, type SignedMessage } from "../../src/streams/envelope.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";

export const randomId = (): string => randomBytes(16).toString("base64url");

/** A signed message on a request subject; what is in it does not matter to a stream. */
export function request(key: IdentityKey, body: object = {}, client = "alice"): SignedMessage {
  const subject = formatSubject({ kind: "request", client, session: randomId(), rid: randomId() });
  return signMessage(key, streamNames.requests, subject, body);
}

export function keyMessage(key: IdentityKey, body: object = {}): SignedMessage {
  const subject = formatSubject({ kind: "key", key: randomBytes(16).toString("hex") });
  return signMessage(key, streamNames.keys, subject, body);
}
