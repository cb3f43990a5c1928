/**
 * @module THSM_AUDIT: what clients and nodes say about their own doings:
 * `thsm.v1.audit.client.<client>.<session>` and `thsm.v1.audit.node.<node>`.
 */
import { Equals, Matches } from "class-validator";
import {
  formatVersion,
  IsCount,
  IsKeyId,
  IsList,
  IsMessageHash,
  IsName,
  IsNumberList,
  IsPartyList,
  IsRandomId,
  IsText,
  IsTime,
  IsVersion,
  MayBeAbsent,
} from "./fields.js";

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
  /** Nodes that sent a share proven wrong, and the hashes of those messages. */
  @MayBeAbsent() @IsList(/^[A-Za-z0-9_-]{1,64}$/, 1, 32, 64) readonly culprits?: string[];
  @MayBeAbsent() @IsList(/^[0-9a-f]{64}$/, 1, 64, 64) readonly evidence?: string[];
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

export type AuditEvent =
  SessionOpened | SessionClosed | SigningResult | SigningFailure | NodeStarted | NodeIgnored;

export const auditEvents: {
  readonly [T in AuditEvent["type"]]: new () => Extract<AuditEvent, { type: T }>;
} = {
  "session-opened": SessionOpened,
  "session-closed": SessionClosed,
  result: SigningResult,
  failure: SigningFailure,
  "node-started": NodeStarted,
  ignored: NodeIgnored,
};
