/**
 * @module What an audit can find: a closed list of stable codes, and how each is told to a person.
 */
import type { StreamName } from "../../streams/subjects.js";

/** "finding": the history is not what honest members leave behind. "note": worth knowing. */
export type Severity = "finding" | "note";

/** Code → severity. A code is never renamed: programs and runbooks match on it. */
export const severities = {
  /** Not signed by the member whose key it names: forged, or altered in the store. */
  AUDIT_BAD_SIGNATURE: "finding",
  /** Signed by nobody of the cluster, or by another member than the one it names. */
  AUDIT_UNKNOWN_SENDER: "finding",
  /** Not of the shape of its stream, or payload and subject disagree. */
  AUDIT_BAD_MESSAGE: "finding",
  /** An event type of a later version: signature and chain are checked, the meaning is not. */
  AUDIT_UNKNOWN_EVENT: "note",
  /** Sequence numbers of a stream are missing or out of order: messages were deleted. */
  AUDIT_SEQUENCE_GAP: "finding",
  /** A stream is not what it was at an earlier audit: cut, replaced by a backup, or written anew. */
  AUDIT_ROLLED_BACK: "finding",

  AUDIT_SESSION_NOT_OPENED: "finding",
  /** Requests of a session are missing, doubled, or not as many as its end says. */
  AUDIT_SESSION_GAP: "finding",
  /** Two different events open or close one session. */
  AUDIT_SESSION_DUPLICATE: "finding",
  /** A request for a key of another token than its session's. */
  AUDIT_SESSION_WRONG_TOKEN: "finding",
  AUDIT_SESSION_OPEN: "note",

  /** Messages of a node, or events of a session, are missing between others of it. */
  AUDIT_CHAIN_GAP: "finding",
  /** A node signed two different messages with one number, or a client two events of a session. */
  AUDIT_CHAIN_FORK: "finding",
  /** A message does not follow the one before it in its chain. */
  AUDIT_CHAIN_BROKEN: "finding",
  /** A stream holds a message behind a later one of the same chain: published again, or moved. */
  AUDIT_CHAIN_ORDER: "note",

  AUDIT_REQUEST_DUPLICATE: "finding",
  /** An escalation of nothing, of something else, or after everything was over. */
  AUDIT_REQUEST_WRONG_ATTEMPT: "finding",
  AUDIT_REQUEST_UNKNOWN_KEY: "note",
  AUDIT_REQUEST_WITHOUT_RESULT: "note",

  /** A checkpoint that its node has not signed, or that is none. */
  AUDIT_CHECKPOINT_BAD: "finding",
  /** A node has seen other requests than are stored. */
  AUDIT_CHECKPOINT_WRONG_ROOT: "finding",
  /** A node has seen more requests than are stored: the history's end was cut off. */
  AUDIT_CHECKPOINT_BEYOND_STREAM: "finding",
  /** A checkpoint kept elsewhere is signed by a node whose record lacks it: cut off or replaced. */
  AUDIT_CHECKPOINT_NOT_RECORDED: "finding",
  /** A node says that THSM_REQ showed it another history than before. */
  AUDIT_NODE_INCONSISTENT: "finding",

  AUDIT_SHARE_WITHOUT_REQUEST: "finding",
  /** A share binds itself to another message, or another place of it, than is stored. */
  AUDIT_SHARE_WRONG_REQUEST_HASH: "finding",
  /** Key, epoch, kind or number of shares are not the request's. */
  AUDIT_SHARE_WRONG_TERMS: "finding",
  AUDIT_SHARE_NOT_ASKED: "finding",
  /** A node answers for a party that the key record gives to another. */
  AUDIT_SHARE_WRONG_PARTY: "finding",
  AUDIT_SHARE_AFTER_EXPIRY: "finding",
  /** A node gave two different answers to one request. */
  AUDIT_SHARE_DUPLICATE: "finding",
  /** An answer that came so late that the audit did not hold its request any more. */
  AUDIT_SHARE_NOT_JUDGED: "note",
  AUDIT_SHARE_AGAINST_POLICY: "finding",
  /** A node signed with a key whose erasure it had confirmed before. */
  AUDIT_SHARE_AFTER_ERASED: "finding",
  AUDIT_SIGNED_WITH_INACTIVE_KEY: "finding",
  /** Proven: a node signed a share that is not its party's. */
  AUDIT_WRONG_SHARE: "finding",
  /** Shares that do not go together, too few to tell which of them are wrong. */
  AUDIT_SUSPECT_SHARE: "finding",
  /** A share proof that does not hold. */
  AUDIT_WRONG_PROOF: "finding",

  AUDIT_RESULT_WITHOUT_REQUEST: "finding",
  /** The shares that a result names are not stored, not k, or make no signature. */
  AUDIT_RESULT_WITHOUT_QUORUM: "finding",
  AUDIT_RESULT_WRONG_SIGNATURE: "finding",
  /** Key, epoch or number of signatures are not the request's. */
  AUDIT_RESULT_WRONG_TERMS: "finding",
  /** A request was closed by two different events. */
  AUDIT_RESULT_DUPLICATE: "finding",
  /** A result that came so late that the audit did not hold its request any more. */
  AUDIT_RESULT_NOT_JUDGED: "finding",
  /** A result calls a node a culprit whose shares are right, or that gave none, and nothing on record proves it. */
  AUDIT_RESULT_FALSE_BLAME: "finding",

  /** A client proved by signed messages what a node did. */
  AUDIT_NODE_CULPRIT: "finding",
  /** A client saw of a node what it cannot prove to others. */
  AUDIT_NODE_SUSPECT: "note",
  /** A client calls a node a culprit, and its messages do not prove it. */
  AUDIT_FALSE_BLAME: "finding",
  AUDIT_NODE_CLEARED: "note",
  /** An operator let go of what an export keeps. */
  AUDIT_ROTATED: "note",

  /** A step of a key's life out of turn, by somebody who may not take it, or with impossible numbers. */
  AUDIT_KEY_EVENT_ILLEGAL: "finding",
  /** A key was activated without a recorded test signature. */
  AUDIT_KEY_UNTESTED: "finding",
  AUDIT_KEY_EVENT_REPEATED: "note",
} as const;

export type FindingCode = keyof typeof severities;

/** What is reported. `seq[0]` is the message that shows it; others are the messages it contradicts. */
export interface FindingFacts {
  readonly code: FindingCode;
  readonly stream: StreamName;
  readonly seq: readonly number[];
  /** One sentence for a person. */
  readonly text: string;
  readonly node?: string;
  readonly client?: string;
  readonly key?: string;
  readonly rid?: string;
  readonly session?: string;
  /** When, by the clock of whoever sent what it is about. */
  readonly time?: string;
}

export interface Finding extends FindingFacts {
  readonly severity: Severity;
}

/** Where the checks put what they find. */
export type Report = (facts: FindingFacts) => void;

/**
 * Codes that say "something is missing that this message needs". While the system runs, what a message at
 * the very end of a stream needs may be stored after the audit looked: see `StreamBounds.settled`.
 */
const absences: ReadonlySet<FindingCode> = new Set<FindingCode>([
  "AUDIT_CHAIN_GAP",
  "AUDIT_SESSION_NOT_OPENED",
  "AUDIT_SESSION_GAP",
  "AUDIT_CHECKPOINT_BEYOND_STREAM",
  "AUDIT_REQUEST_WRONG_ATTEMPT",
  "AUDIT_SHARE_WITHOUT_REQUEST",
  "AUDIT_SIGNED_WITH_INACTIVE_KEY",
  "AUDIT_RESULT_WITHOUT_REQUEST",
  "AUDIT_RESULT_WITHOUT_QUORUM",
  "AUDIT_RESULT_FALSE_BLAME",
  "AUDIT_KEY_UNTESTED",
]);

export function isAbsence(code: FindingCode): boolean {
  return absences.has(code);
}

export function toFinding(facts: FindingFacts): Finding {
  return { severity: severities[facts.code], ...facts };
}
