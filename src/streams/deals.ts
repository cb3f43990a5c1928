/**
 * @module THSM_DEAL: `thsm.v1.deal.<node>.<keyid>`, dealer → one node. A work queue: the sealed
 * share is gone from the stream once the node has it.
 */
import { Matches, MaxLength } from "class-validator";
import {
  canonical,
  formatVersion,
  IsCount,
  IsKeyId,
  IsMessageHash,
  IsName,
  IsParty,
  IsVersion,
  IsX25519Key,
} from "./fields.js";

/** A key share, HPKE-sealed (RFC 9180) to the one-time key of the node's `ready`. */
export class SealedShare {
  @IsVersion() readonly version: number = formatVersion;
  @IsKeyId() readonly key!: string;
  @IsCount() readonly epoch!: number;
  @IsName() readonly client!: string;
  @IsName() readonly node!: string;
  @IsParty() readonly party!: number;
  @IsMessageHash() readonly proposal!: string;
  /** The one-time key it is sealed to, base64url. */
  @IsX25519Key() readonly sealingKey!: string;
  /** HPKE's encapsulated key, base64url. */
  @IsX25519Key() readonly enc!: string;
  /** base64url. */
  @Matches(canonical) @MaxLength(65536) readonly ciphertext!: string;
}

/** HPKE's `info`: binds a sealed share to its dealing and its receiver. Public. */
export function sealingInfo(share: {
  key: string;
  epoch: number;
  node: string;
  party: number;
  proposal: string;
}): Uint8Array {
  const { key, epoch, node, party, proposal } = share;
  return Buffer.from(
    ["thsm/v1 deal", key, String(epoch), node, String(party), proposal].join("\0"),
    "utf8",
  );
}
