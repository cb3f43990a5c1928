/**
 * @module THSM_AUDIT: what clients and nodes say about their own doings:
 * `thsm.v1.audit.client.<client>.<session>`, `thsm.v1.audit.node.<node>` and `….checkpoint`; and what is said of a node:
 * `thsm.v1.audit.blame.<client>.<node>` and `thsm.v1.audit.operator.<operator>.<node>`; and what an operator does:
 * `thsm.v1.audit.operator.<operator>`.
 */
import { Equals, IsIn, Matches } from "class-validator";
import { IsCarriedList, type CarriedMessage } from "./carried.js";
import {
  formatVersion,
  IsCount,
  IsKeyId,
  IsList,
  IsMessageHash,
  IsName,
  IsNumberList,
  IsParty,
  IsPartyList,
  IsRandomId,
  IsText,
  IsTime,
  IsVersion,
  MayBeAbsent,
} from "./fields.js";

/** Hashes in a result or a blame. */
export const mostEvidence = 64;

/** Of every event of a session. Those of version 1 had no chain. */
export const sessionEventVersion = 2;

/**
 * What every event of a session says. `n` and `prev`: the session's chain, so that no event of it can be
 * dropped or put in another place unseen.
 */
class SessionEvent {
  @IsVersion(sessionEventVersion) readonly version: number = sessionEventVersion;
  @IsName() readonly client!: string;
  @IsRandomId() readonly session!: string;
  @IsTime() readonly time!: string;
  @IsCount() readonly n!: number;
  @IsMessageHash() readonly prev!: string;
}

/** What every event of a node says. `n` and `prev`: the node's chain. */
class NodeEvent {
  @IsVersion() readonly version: number = formatVersion;
  @IsName() readonly node!: string;
  @IsTime() readonly time!: string;
  @IsCount() readonly n!: number;
  @IsMessageHash() readonly prev!: string;
}

/** First event of a session. */
export class SessionOpened extends SessionEvent {
  @Equals("session-opened") readonly type = "session-opened";
  @IsName() readonly token!: string;
  /** Program and process id, as the application tells it. */
  @IsText(200) readonly application!: string;
}

/** Last event of a session: how many requests it published. */
export class SessionClosed extends SessionEvent {
  @Equals("session-closed") readonly type = "session-closed";
  @IsCount() readonly requests!: number;
}

/** Closes a request and its escalations: the signatures and who made them. */
export class SigningResult extends SessionEvent {
  @Equals("result") readonly type = "result";
  /** The first attempt's request. */
  @IsRandomId() readonly rid!: string;
  @IsKeyId() readonly key!: string;
  @IsCount() readonly epoch!: number;
  /** Party indices whose shares were combined, for each input alike. */
  @IsPartyList() readonly quorum!: number[];
  /** One signature an input, base64url. */
  @IsNumberList() readonly signatures!: string[];
  /** Nodes that the client charged over this request or its escalations: those that it proved guilty, and others. */
  @MayBeAbsent() @IsList(/^[A-Za-z0-9_-]{1,64}$/, 1, 32, 64) readonly culprits?: string[];
  @MayBeAbsent() @IsList(/^[A-Za-z0-9_-]{1,64}$/, 1, 32, 64) readonly suspects?: string[];
  /** Hashes of the messages that show it, as in the `misbehaviour` events, which carry them. */
  @MayBeAbsent() @IsList(/^[0-9a-f]{64}$/, 1, mostEvidence, 64) readonly evidence?: string[];
  /** From first publication to valid signatures. */
  @IsCount() readonly elapsedMs!: number;
}

/** Closes a request that ended without signatures. */
export class SigningFailure extends SessionEvent {
  @Equals("failure") readonly type = "failure";
  @IsRandomId() readonly rid!: string;
  @IsKeyId() readonly key!: string;
  @Matches(/^ERR_[A-Z_]{1,60}$/) readonly code!: string;
  @IsText(400) readonly reason!: string;
}

/** A node started (again): its identity runs once, under this boot nonce. */
export class NodeStarted extends NodeEvent {
  @Equals("node-started") readonly type = "node-started";
  @IsRandomId() readonly boot!: string;
}

/** Messages that a node ignored since the last such event, counted by code. */
export class NodeIgnored extends NodeEvent {
  @Equals("ignored") readonly type = "ignored";
  /** "CODE count" each. */
  @IsList(/^ERR_[A-Z_]{1,60} \d{1,15}$/, 1, 64, 80) readonly counts!: string[];
}

/**
 * "culprit": proven by the messages that the event carries. "suspect": seen, and not provable.
 * "withdrawn": what this client suspected has turned out otherwise.
 */
export const blameVerdicts = ["culprit", "suspect", "withdrawn"] as const;
export type BlameVerdict = (typeof blameVerdicts)[number];

/** A client says what a node did to it. Nobody believes more of it than its messages prove. */
export class Misbehaviour {
  @IsVersion() readonly version: number = formatVersion;
  @Equals("misbehaviour") readonly type = "misbehaviour";
  @IsName() readonly client!: string;
  @IsName() readonly node!: string;
  @IsIn(blameVerdicts) readonly verdict!: BlameVerdict;
  /** What it is about: "wrong-share", "not-stored" … see docs/formats.md. */
  @Matches(/^[a-z-]{1,40}$/) readonly code!: string;
  /** One sentence for a person. */
  @IsText(400) readonly text!: string;
  @MayBeAbsent() @IsParty() readonly party?: number;
  @MayBeAbsent() @IsKeyId() readonly key?: string;
  /** The request that it was about, if it was about one. */
  @MayBeAbsent() @IsRandomId() readonly rid?: string;
  /** Hashes of the node's messages that show it; of a silent one, of the request that it left without an answer. */
  @MayBeAbsent() @IsList(/^[0-9a-f]{64}$/, 1, mostEvidence, 64) readonly evidence?: string[];
  /** The messages themselves, where they fit: evidence for everybody. */
  @MayBeAbsent() @IsCarriedList() readonly messages?: CarriedMessage[];
  @IsTime() readonly time!: string;
}

/** The operator has looked after a node: what clients said of it up to here is settled. */
export class NodeCleared {
  @IsVersion() readonly version: number = formatVersion;
  @Equals("node-cleared") readonly type = "node-cleared";
  @IsName() readonly operator!: string;
  @IsName() readonly node!: string;
  @MayBeAbsent() @IsText(400) readonly reason?: string;
  @IsTime() readonly time!: string;
}

/** The operator lets go of what an export keeps. Said before it is done, and true of an interrupted rotation too. */
export class Rotated {
  @IsVersion() readonly version: number = formatVersion;
  @Equals("rotated") readonly type = "rotated";
  @IsName() readonly operator!: string;
  /**
   * "STREAM NUMBER LAST" each: entries up to NUMBER go, the export has those up to LAST. Some more than NUMBER may
   * go, because the stream grows meanwhile; never more than LAST.
   */
  @IsList(/^THSM_(REQ|SHARE|AUDIT) [1-9]\d{0,14} [1-9]\d{0,14}$/, 1, 3, 60)
  readonly letGo!: string[];
  /** SHA-256 of the export's manifest.json, which has the digests of its streams. */
  @IsMessageHash() readonly manifest!: string;
  @IsTime() readonly time!: string;
}

/** The root over all requests up to `size`, as the node has seen them: a signed note. */
export class NodeCheckpoint extends NodeEvent {
  @Equals("checkpoint") readonly type = "checkpoint";
  @IsCount() readonly size!: number;
  /** C2SP tlog-checkpoint with the node's signature line. */
  @IsText(1000) readonly note!: string;
}

/** THSM_REQ shows something else than before: the node signs no checkpoint from now on. */
export class NodeInconsistent extends NodeEvent {
  @Equals("inconsistent") readonly type = "inconsistent";
  /** Where it does. */
  @IsCount() readonly seq!: number;
  @IsText(400) readonly reason!: string;
}

export type AuditEvent =
  | SessionOpened
  | SessionClosed
  | SigningResult
  | SigningFailure
  | NodeStarted
  | NodeIgnored
  | Misbehaviour
  | NodeCleared
  | Rotated
  | NodeCheckpoint
  | NodeInconsistent;

export const auditEvents: {
  readonly [T in AuditEvent["type"]]: new () => Extract<AuditEvent, { type: T }>;
} = {
  "session-opened": SessionOpened,
  "session-closed": SessionClosed,
  result: SigningResult,
  failure: SigningFailure,
  "node-started": NodeStarted,
  ignored: NodeIgnored,
  misbehaviour: Misbehaviour,
  "node-cleared": NodeCleared,
  rotated: Rotated,
  checkpoint: NodeCheckpoint,
  inconsistent: NodeInconsistent,
};
