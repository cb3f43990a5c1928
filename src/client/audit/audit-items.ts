/** @module What an audit tells: messages, signings and findings as it goes, and a summary at its end. */
import type { AuditEvent } from "../../streams/audit-events.js";
import type { StoredMessage } from "../../streams/envelope.js";
import type { KeyEvent } from "../../streams/keys.js";
import type { TokenObjectEvent } from "../../streams/objects.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { ChainEnd } from "./chain.js";
import type { Finding, FindingCode } from "./findings.js";
import type { Verdict } from "./recombine.js";
import type { Signing } from "./signing.js";
import type { KeptStream } from "./sources.js";

/** A message that its sender answers for, in its place. */
export interface AuditedEvent {
  readonly stream: KeptStream;
  readonly message: StoredMessage;
  /** Undefined for an event type of a later version. */
  readonly body: SignRequest | ShareMessage | KeyEvent | TokenObjectEvent | AuditEvent | undefined;
}

/** What an audit tells: a message, a signing with all that belongs to it, or what is wrong. */
export type AuditItem =
  | { readonly type: "event"; readonly event: AuditedEvent }
  | { readonly type: "signing"; readonly signing: Signing; readonly verdict: Verdict | undefined }
  | { readonly type: "finding"; readonly finding: Finding };

export interface VerifyProgress {
  readonly done: number;
  readonly total: number;
}

/** Where a node's chain ends. */
export interface ChainHead extends ChainEnd {
  readonly node: string;
}

/** What was looked at. */
export interface AuditSummary {
  /** Entries of each stream, and its first and last sequence number. */
  readonly streams: Readonly<Record<KeptStream, { messages: number; first: number; last: number }>>;
  readonly keys: number;
  readonly sessions: number;
  readonly requests: number;
  readonly results: number;
  /** Signatures that verify under their key. */
  readonly signaturesValid: number;
  /** Signatures that were made again from the recorded shares. */
  readonly signaturesRecombined: number;
  /** Messages stored again with the same bytes: harmless. */
  readonly repeats: number;
  /** Findings left to the next audit: what they miss may have been stored meanwhile. */
  readonly inFlight: number;
  /** Findings that the scope leaves out. */
  readonly outOfScope: number;
  /** Inputs whose signatures the scope leaves out: nobody verified them. */
  readonly notVerified: number;
  /** Inputs whose signatures an earlier audit verified, by its bookmark. */
  readonly verifiedBefore: number;
  readonly chainHeads: readonly ChainHead[];
  readonly findings: number;
  readonly notes: number;
  readonly byCode: Readonly<Partial<Record<FindingCode, number>>>;
  readonly durationMs: number;
}
