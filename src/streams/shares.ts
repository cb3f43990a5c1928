/** @module THSM_SHARE: `thsm.v1.share.<node>.<client>.<session>.<rid>`, node → client. */
import { IsIn, Matches } from "class-validator";
import {
  canonical,
  formatVersion,
  IsCount,
  IsKeyId,
  IsList,
  IsMessageHash,
  IsName,
  IsNumberList,
  IsParty,
  IsRandomId,
  IsText,
  IsTime,
  IsVersion,
  maxInputs,
  MayBeAbsent,
} from "./fields.js";

export const answerKinds = ["shares", "refusal", "explanation"] as const;
export type AnswerKind = (typeof answerKinds)[number];

/** A node's one answer to a request: a share for each input, or a refusal with its reason. */
export class ShareMessage {
  @IsVersion() readonly version: number = formatVersion;
  @IsIn(answerKinds) readonly kind!: AnswerKind;
  @IsName() readonly node!: string;
  @IsParty() readonly party!: number;
  @IsName() readonly client!: string;
  @IsRandomId() readonly session!: string;
  @IsRandomId() readonly rid!: string;
  @IsKeyId() readonly key!: string;
  @IsCount() readonly epoch!: number;
  /** Big-endian, as long as the modulus, base64url. */
  @MayBeAbsent() @IsNumberList() readonly shares?: string[];
  /** Serialized share proofs, base64url, one a share. */
  @MayBeAbsent() @IsList(canonical, 1, maxInputs, 4096) readonly proofs?: string[];
  /** A refusal's stable code and its sentence. */
  @MayBeAbsent() @Matches(/^ERR_[A-Z_]{1,60}$/) readonly code?: string;
  @MayBeAbsent() @IsText(400) readonly reason?: string;
  /** Hash of the request message, and where the stream had it. */
  @IsMessageHash() readonly request!: string;
  @IsCount() readonly reqSeq!: number;
  @IsTime() readonly time!: string;
  /** The node's hash chain over everything it publishes: number of this message, hash of the last. */
  @IsCount() readonly n!: number;
  @IsMessageHash() readonly prev!: string;
}
