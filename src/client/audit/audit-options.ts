/** @module What an audit is asked to look at, and how. */
import type { Note } from "../../checkpoint/note.js";
import type { Mark } from "./positions.js";
import type { AuditScope } from "./scope.js";

export interface AuditOptions {
  /** Whether the shares of each result are combined again. Default true. It is most of the work. */
  readonly recombine?: boolean;
  /**
   * What an earlier audit of this cluster left. The history must begin with what that one saw; signatures that
   * it verified are not verified again, everything else is.
   */
  readonly bookmark?: Mark;
  /** Takes what this audit leaves for the next one, when it has come to its end. */
  readonly onMark?: (mark: Mark) => void;
  /** What is to be told of. Every message is read and checked all the same. Default: everything. */
  readonly scope?: AuditScope;
  /** Checkpoints that were kept elsewhere: the history must still hold all that they are over. */
  readonly checkpoints?: readonly Note[];
  /** Whether every admitted message is an item too. Default false. */
  readonly events?: boolean;
  /** Whether every judged signing is an item too. Default false. */
  readonly signings?: boolean;
  /**
   * How far streams may lag behind each other without harm: inputs of complete signings that are held
   * in memory, 2 to 4 kB each. Default 4000.
   */
  readonly heldInputs?: number;
  /** Inputs of signings that are held, complete or not, before the oldest is judged by what there is. */
  readonly openInputs?: number;
}
