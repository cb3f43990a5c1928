/** @module `thsm.v1.beat.<node>`: a node's heartbeat. Not stored; signed all the same. */
import { formatVersion, IsCount, IsName, IsRandomId, IsTime, IsVersion } from "./fields.js";

export class Heartbeat {
  @IsVersion() readonly version: number = formatVersion;
  @IsName() readonly node!: string;
  @IsRandomId() readonly boot!: string;
  /** Grows by one with each beat of a boot. */
  @IsCount() readonly beat!: number;
  /** Inputs waiting for a worker. */
  @IsCount() readonly queued!: number;
  @IsCount() readonly activeKeys!: number;
  @IsTime() readonly time!: string;
}
