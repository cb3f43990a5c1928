/**
 * @module Certificates and data that applications keep on a token, as events on THSM_KEY:
 * `thsm.v1.key.object.<client>.<token>.<object>`. All of it is public, and none of it the nodes' concern.
 */
import { Equals, IsIn, Matches, MaxLength } from "class-validator";
import {
  canonical,
  formatVersion,
  IsKeyId,
  IsName,
  IsText,
  IsTime,
  IsVersion,
  MayBeAbsent,
} from "./fields.js";

/** Bytes of an object's value, and of each of its other fields. */
export const maxObjectBytes: number = 16 * 1024;
export const maxFieldBytes = 2048;

class ObjectEvent {
  @IsVersion() readonly version: number = formatVersion;
  /** 16 bytes, lower-case hex. */
  @IsKeyId() readonly object!: string;
  @IsName() readonly client!: string;
  @IsName() @MaxLength(32) readonly token!: string;
  @IsTime() readonly time!: string;
}

/** A new object. Bytes are base64url. */
export class ObjectStored extends ObjectEvent {
  @Equals("object-stored") readonly type = "object-stored";
  @IsIn(["certificate", "data"]) readonly class!: "certificate" | "data";
  @IsText(255) readonly label!: string;
  /** CKA_ID, lower-case hex. */
  @Matches(/^([0-9a-f]{2}){0,255}$/) readonly id!: string;
  @Matches(canonical) @MaxLength(21846) readonly value!: string;
  @MayBeAbsent() @Matches(canonical) @MaxLength(2731) readonly subject?: string;
  @MayBeAbsent() @Matches(canonical) @MaxLength(2731) readonly issuer?: string;
  @MayBeAbsent() @Matches(canonical) @MaxLength(2731) readonly serialNumber?: string;
  @MayBeAbsent() @Matches(canonical) @MaxLength(2731) readonly application?: string;
  @MayBeAbsent() @Matches(canonical) @MaxLength(2731) readonly objectId?: string;
}

/** Other names for an object; what is absent stays. */
export class ObjectRelabelled extends ObjectEvent {
  @Equals("object-relabelled") readonly type = "object-relabelled";
  @MayBeAbsent() @IsText(255) readonly label?: string;
  @MayBeAbsent() @Matches(/^([0-9a-f]{2}){0,255}$/) readonly id?: string;
}

/** The object is on the token no more. Its bytes stay in the history. */
export class ObjectRemoved extends ObjectEvent {
  @Equals("object-removed") readonly type = "object-removed";
}

export type TokenObjectEvent = ObjectStored | ObjectRelabelled | ObjectRemoved;

export const objectEvents: {
  readonly [T in TokenObjectEvent["type"]]: new () => Extract<TokenObjectEvent, { type: T }>;
} = {
  "object-stored": ObjectStored,
  "object-relabelled": ObjectRelabelled,
  "object-removed": ObjectRemoved,
};
