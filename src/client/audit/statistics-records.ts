/** @module What `Statistics` keeps of keys, programs, nodes, blames and hours: records for pages and programs. */
import type { Misbehaviour } from "../../streams/audit-events.js";
import type { KeyEvent } from "../../streams/keys.js";
import type { KeptStream } from "./sources.js";

/** What is counted of keys and applications alike. */
export interface SigningCounts {
  /** Wishes of applications; a request and its escalations are one. */
  requests: number;
  /** Signatures that verify. */
  signatures: number;
  failed: number;
}

export interface KeyStatistics extends SigningCounts {
  readonly key: string;
  /** Who proposed it. */
  readonly client: string;
  readonly token: string;
  readonly label: string;
  readonly bits: number;
  readonly threshold: number;
  /** Nodes; party i is the i-th. */
  readonly parties: readonly string[];
  /** Its life, a record for each kind of step. */
  readonly life: Map<KeyEvent["type"], KeyStep>;
}

/** As it is on record; a step that was nobody's to take is a finding. */
export interface KeyStep {
  readonly by: Set<string>;
  /** The newest one's, by its sender's clock. */
  time: string;
  /** The newest one's entry of THSM_KEY. */
  seq: number;
}

export interface ApplicationStatistics extends SigningCounts {
  readonly client: string;
  /** As the program calls itself, without its process id. */
  readonly application: string;
  sessions: number;
}

export interface NodeStatistics {
  readonly node: string;
  /** Requests and escalations that named it. */
  asked: number;
  answered: number;
  refused: number;
  /** Signatures with its share in them. */
  combined: number;
  starts: number;
}

/** What clients said of nodes, by client, node and kind. */
export interface BlameStatistics {
  readonly node: string;
  readonly client: string;
  readonly verdict: Misbehaviour["verdict"];
  readonly code: string;
  count: number;
  /** Entries of THSM_AUDIT. */
  readonly first: number;
  last: number;
  /** The newest one's sentence. */
  text: string;
}

/** Refusals of a node, or failures of a client, of one code. */
export interface CodeStatistics {
  readonly by: string;
  readonly code: string;
  count: number;
  /** The newest one's entry and sentence. */
  seq: number;
  text: string;
}

export interface HourStatistics {
  readonly startMs: number;
  /** By the clients' clocks. */
  signatures: number;
  /** Bytes of messages, by the server's clock. */
  readonly bytes: Record<KeptStream, number>;
}

/** An operator's word on a node. */
export interface Clearing {
  readonly node: string;
  readonly operator: string;
  readonly time: string;
  readonly reason: string;
  readonly seq: number;
}
