/** @module `thsm.v1.beat.<node>`: a node's heartbeat. Not stored; signed all the same. */
import { Matches } from "class-validator";
import {
  formatVersion,
  IsCount,
  IsName,
  IsRandomId,
  IsText,
  IsTime,
  IsVersion,
  MayBeAbsent,
} from "./fields.js";

const softwareForm = /^\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,32})?$/;

export class Heartbeat {
  @IsVersion() readonly version: number = formatVersion;
  @IsName() readonly node!: string;
  @IsRandomId() readonly boot!: string;
  /** Grows by one with each beat of a boot. */
  @IsCount() readonly beat!: number;
  /** Inputs waiting for a worker. */
  @IsCount() readonly queued!: number;
  @IsCount() readonly activeKeys!: number;
  /** Version of the node's software. */
  @MayBeAbsent() @Matches(softwareForm) readonly software?: string;
  /** Signature shares made since it started. */
  @MayBeAbsent() @IsCount() readonly signed?: number;
  /** Why the node refuses to sign anything: the streams are not those that it knew. */
  @MayBeAbsent() @IsText(400) readonly halted?: string;
  @IsTime() readonly time!: string;
}
