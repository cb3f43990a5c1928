/** @module What findings say of a request, an answer or an event that closes one: who, which, when. */
import type { SigningFailure, SigningResult } from "../../streams/audit-events.js";
import type { StoredMessage } from "../../streams/envelope.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { Read } from "./admit.js";
import type { FindingCode, FindingFacts } from "./findings.js";

export function requestFacts(
  code: FindingCode,
  { message, body }: Read<SignRequest>,
  what: string,
): FindingFacts {
  const { client, rid, expires } = body;
  return {
    ...whichOf(message, body),
    code,
    stream: "THSM_REQ",
    time: expires,
    text: `request ${rid} of client ${client}, valid until ${expires}, ${what}`,
  };
}

export function shareFacts(
  code: FindingCode,
  { message, body }: Read<ShareMessage>,
  what: string,
): FindingFacts {
  const { node, client, rid, time } = body;
  return {
    ...whichOf(message, body),
    code,
    stream: "THSM_SHARE",
    node,
    time,
    text: `node ${node} answered request ${rid} of client ${client} at ${time}, ${what}`,
  };
}

export function closingFacts(
  code: FindingCode,
  { message, body }: Read<SigningResult | SigningFailure>,
  what: string,
): FindingFacts {
  const { client, rid, type, time } = body;
  return {
    ...whichOf(message, body),
    code,
    stream: "THSM_AUDIT",
    time,
    text: `client ${client} recorded a ${type} of request ${rid} at ${time}, ${what}`,
  };
}

function whichOf(
  { seq }: StoredMessage,
  { client, key, rid, session }: SignRequest | ShareMessage | SigningResult | SigningFailure,
): Pick<FindingFacts, "seq" | "client" | "key" | "rid" | "session"> {
  return { seq: [seq], client, key, rid, session };
}
