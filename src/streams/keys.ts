/**
 * @module THSM_KEY: `thsm.v1.key.<keyid>`, the life of a key as events. The key directory is the
 * replay of this stream. proposed → ready → (sealed shares by THSM_DEAL) → accepted → activated,
 * or abandoned; destroyed → erased.
 */
import { Equals, IsIn, IsInt, Matches, Max, MaxLength, Min } from "class-validator";
import {
  formatVersion,
  IsAbsentUnless,
  IsCount,
  IsKeyId,
  IsList,
  IsMessageHash,
  IsName,
  IsNameList,
  IsNumber,
  IsNumberList,
  IsParty,
  IsPartyList,
  IsRandomId,
  IsText,
  IsTime,
  IsVersion,
  IsX25519Key,
  maxInputs,
  MayBeAbsent,
} from "./fields.js";

/** A new key's public record, by the dealer. Its message hash stands for it from then on. */
export class KeyProposed {
  @IsVersion() readonly version: number = formatVersion;
  @Equals("proposed") readonly type = "proposed";
  @IsKeyId() readonly key!: string;
  @IsCount() readonly epoch!: number;
  @IsName() readonly client!: string;
  @IsName() @MaxLength(32) readonly token!: string;
  @IsText(255) readonly label!: string;
  /** CKA_ID, lower-case hex. */
  @Matches(/^([0-9a-f]{2}){1,255}$/) readonly id!: string;
  @Equals("rsa") readonly algorithm!: string;
  @Equals("shoup") readonly scheme!: string;
  @IsNumber() readonly modulus!: string;
  @IsNumber() readonly publicExponent!: string;
  @IsParty() readonly threshold!: number;
  /** Node names; party i is the i-th. */
  @IsNameList() readonly parties!: string[];
  /** How many parties must accept before activation: threshold…parties. */
  @IsParty() readonly minimum!: number;
  @IsNumber() readonly verificationBase!: string;
  @IsNumberList() readonly verificationKeys!: string[];
  @IsList(/^[a-z0-9-]+$/, 1, 8, 32) readonly encodings!: string[];
  @IsList(/^[a-z0-9]+$/, 1, 8, 16) readonly hashes!: string[];
  @IsInt() @Min(1) @Max(maxInputs) readonly maxInputs: number = maxInputs;
  @IsIn(["on-failure", "always"]) readonly proofs!: "on-failure" | "always";
  /** Clients of the token that may sign; absent: all of them. */
  @MayBeAbsent() @IsNameList() readonly clients?: string[];
  /** Signatures that each node makes in `ratePeriodSeconds` at most; both or none. */
  @IsAbsentUnless("ratePeriodSeconds") @IsInt() @Min(1) @Max(1e9) readonly rateLimit?: number;
  @IsAbsentUnless("rateLimit")
  @IsInt()
  @Min(1)
  @Max(31_536_000)
  readonly ratePeriodSeconds?: number;
  @IsTime() readonly time!: string;
  /** When the dealing is over at the latest: what is not active then is erased and abandoned. */
  @MayBeAbsent() @IsTime() readonly expires?: string;
}

/**
 * Why a policy does not say what it allows; undefined for one that does. Ciphertexts are blinded, so a key
 * that decrypts makes the signature of anything for whoever asks: a restriction on what it signs beside that
 * would be a lie. A checkpoint is worth something because its key signs nothing that anybody asks for.
 */
export function policyFault(encodings: readonly string[]): string | undefined {
  if (encodings.length === 1) return undefined;
  if (encodings.includes("checkpoint")) {
    return "a key that signs checkpoints signs nothing else: allow checkpoint alone";
  }
  if (encodings.includes("decrypt") && !encodings.includes("raw")) {
    return "a key that decrypts can be made to sign anything: allow decrypt alone, or raw as well";
  }
  return undefined;
}

/** What every event of a party says. `n` and `prev`: the node's chain. */
class PartyEvent {
  @IsVersion() readonly version: number = formatVersion;
  @IsKeyId() readonly key!: string;
  @IsName() readonly node!: string;
  @IsParty() readonly party!: number;
  /** Message hash of `proposed`. */
  @IsMessageHash() readonly proposal!: string;
  @IsTime() readonly time!: string;
  @IsCount() readonly n!: number;
  @IsMessageHash() readonly prev!: string;
}

/** What every decision of a client says. */
class ClientEvent {
  @IsVersion() readonly version: number = formatVersion;
  @IsKeyId() readonly key!: string;
  @IsName() readonly client!: string;
  /** Message hash of `proposed`. */
  @IsMessageHash() readonly proposal!: string;
  @IsTime() readonly time!: string;
}

/** A node is ready for its share: the one-time X25519 key to seal it to. */
export class KeyReady extends PartyEvent {
  @Equals("ready") readonly type = "ready";
  /** 32 bytes, base64url. */
  @IsX25519Key() readonly sealingKey!: string;
}

/** A node has checked its share against the record and stored it durably. */
export class KeyAccepted extends PartyEvent {
  @Equals("accepted") readonly type = "accepted";
}

/** A node cannot accept: the dealing is wrong, or there is no room. */
export class KeyRejected extends PartyEvent {
  @Equals("rejected") readonly type = "rejected";
  @Matches(/^ERR_[A-Z_]{1,60}$/) readonly code!: string;
  @IsText(400) readonly reason!: string;
}

/** The dealer has seen a test signature verify: the key signs from now on. */
export class KeyActivated extends ClientEvent {
  @Equals("activated") readonly type = "activated";
  @IsPartyList() readonly accepted!: number[];
  /** Session and request of the test signature. */
  @IsRandomId() readonly session!: string;
  @IsRandomId() readonly rid!: string;
}

/** The key will never be active: nodes erase what they have of it. */
export class KeyAbandoned extends ClientEvent {
  @Equals("abandoned") readonly type = "abandoned";
  @IsText(400) readonly reason!: string;
}

/** Other names for an active key; what is absent stays. */
export class KeyRelabelled extends ClientEvent {
  @Equals("relabelled") readonly type = "relabelled";
  @MayBeAbsent() @IsText(255) readonly label?: string;
  @MayBeAbsent() @Matches(/^([0-9a-f]{2}){1,255}$/) readonly id?: string;
}

/** The end of a key: takes effect at once, completes when absent nodes return. */
export class KeyDestroyed extends ClientEvent {
  @Equals("destroyed") readonly type = "destroyed";
  @MayBeAbsent() @IsText(400) readonly reason?: string;
}

/** A node's receipt: its share of an abandoned or destroyed key is overwritten and gone. */
export class KeyErased extends PartyEvent {
  @Equals("erased") readonly type = "erased";
}

export type KeyEvent =
  | KeyProposed
  | KeyReady
  | KeyAccepted
  | KeyRejected
  | KeyActivated
  | KeyAbandoned
  | KeyRelabelled
  | KeyDestroyed
  | KeyErased;

export const keyEvents: {
  readonly [T in KeyEvent["type"]]: new () => Extract<KeyEvent, { type: T }>;
} = {
  proposed: KeyProposed,
  ready: KeyReady,
  accepted: KeyAccepted,
  rejected: KeyRejected,
  activated: KeyActivated,
  abandoned: KeyAbandoned,
  relabelled: KeyRelabelled,
  destroyed: KeyDestroyed,
  erased: KeyErased,
};
