/** @module What a signing run is given, and what comes of it. */
import type { Logger } from "../log.js";
import type { GroupKey } from "../scheme/index.js";
import type { SignedMessage } from "../streams/envelope.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { RequestKind } from "../streams/requests.js";
import type { BlameBook } from "./blame/blame-book.js";
import type { Collector } from "./collector.js";
import type { NodeHealth } from "./node-health.js";
import type { Combined } from "./quorum-tracker.js";

/** What to sign, ready to be put in a request. */
export interface Work {
  readonly kind: RequestKind;
  readonly record: KeyRecord;
  readonly group: GroupKey;
  readonly encoding: string;
  readonly hash: string | undefined;
  readonly inputs: readonly Uint8Array[];
  /** For PSS, one an input. */
  readonly salts: readonly Uint8Array[] | undefined;
  readonly encoded: readonly Uint8Array[];
  readonly deadlineMs: number;
}

/** A request but for what its session adds. */
export interface RequestFields extends Readonly<Record<string, unknown>> {
  readonly kind: RequestKind;
  readonly rid: string;
}

/** What a run needs of its session. */
export interface RunContext {
  readonly session: string;
  readonly collector: Collector;
  readonly health: NodeHealth;
  readonly log: Logger;
  /** Ends the run: its session is closed. */
  readonly signal: AbortSignal;
  readonly book: BlameBook;
  /** Publishes a request with the session's next number, or throws; `stored` once it is on record. */
  readonly publish: (
    fields: RequestFields,
    deadlineMs: number,
  ) => { message: SignedMessage; stored: Promise<unknown> };
}

export interface Outcome extends Combined {
  /** The first attempt's request id: names the run in its result. */
  readonly rid: string;
  readonly elapsedMs: number;
}
