/** @module THSM_REQ: `thsm.v1.req.<client>.<session>.<rid>`, client → nodes. */
import { Equals, IsIn } from "class-validator";
import {
  formatVersion,
  IsCount,
  IsKeyId,
  IsList,
  IsName,
  IsPartyList,
  IsRandomId,
  IsTime,
  IsVersion,
  maxInputs,
  MayBeAbsent,
} from "./fields.js";

/** "sign": an application's wish. "test": the dealer's proof that a new key signs. "explain":
 * the same inputs again, answered with share proofs. */
export const requestKinds = ["sign", "test", "explain"] as const;
export type RequestKind = (typeof requestKinds)[number];

/** Asks the named parties for a signature share of each input. */
export class SignRequest {
  @IsVersion() readonly version: number = formatVersion;
  @IsIn(requestKinds) readonly kind!: RequestKind;
  @IsName() readonly client!: string;
  @IsRandomId() readonly session!: string;
  /** 1, 2, 3 … within the session: a gap is visible. */
  @IsCount() readonly seq!: number;
  @IsRandomId() readonly rid!: string;
  @IsKeyId() readonly key!: string;
  @IsCount() readonly epoch!: number;
  @Equals("rsa") readonly algorithm!: string;
  @Equals("shoup") readonly scheme!: string;
  /** Who is to answer; the others acknowledge and stay idle. */
  @IsPartyList() readonly parties!: number[];
  @IsIn(["pkcs1v15", "pss", "pkcs1v15-opaque", "raw", "decrypt", "checkpoint"])
  readonly encoding!: string;
  @MayBeAbsent() @IsIn(["sha1", "sha224", "sha256", "sha384", "sha512"]) readonly hash?: string;
  /** Digests, payloads, blocks or blinded ciphertexts: lower-case hex. */
  @IsList(/^([0-9a-f]{2})+$/, 1, maxInputs, 1024) readonly inputs!: string[];
  /** Exactly for "pss": one salt (0…64 bytes, lower-case hex) an input. */
  @MayBeAbsent()
  @IsList(/^([0-9a-f]{2})*$/, 1, maxInputs, 128)
  readonly salts?: string[];
  /** No node answers after this. */
  @IsTime() readonly expires!: string;
  /** 1 for the first request; an escalation counts on, and names the first in `of`. */
  @IsCount() readonly attempt!: number;
  @MayBeAbsent() @IsRandomId() readonly of?: string;
}
