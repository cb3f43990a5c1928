/**
 * @module The arithmetic that no audit can do without: one Ed25519 verification a message, and for each signature
 * one combination, which ends with one check against the public key. Measured on messages and shares of the
 * history itself, and scaled to all of them.
 */
import { exportedHistory } from "../../src/client/audit/ndjson.js";
import { keptStreams } from "../../src/client/audit/sources.js";
import { combine, parseSignatureShare } from "../../src/scheme/index.js";
import { signatureClaim, type SignatureClaim } from "../../src/streams/envelope.js";
import { readRequest, readShare } from "../../src/streams/open.js";
import type { Entry } from "../../src/streams/read.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { testKey } from "../support/keys.js";
import { auditedKey } from "./audited-key.js";

const sampledMessages = 4000;
const sampledSignatures = 1000;

interface Combination {
  readonly encoded: Uint8Array;
  readonly received: { readonly party: number; readonly bytes: Uint8Array }[];
}

/** Seconds on one thread for a history of so many signatures. */
export async function arithmeticSeconds(directory: string, signatures: number): Promise<number> {
  const builder = new HistoryBuilder(auditedKey);
  const claims: SignatureClaim[] = [];
  const combinations = new Map<string, Combination[]>();
  let [messages, sampled] = [0, 0];
  const take = ({ message }: Extract<Entry, { message: object }>): void => {
    messages++;
    if (message.stream === "THSM_REQ" && sampled < sampledSignatures) {
      const body = readRequest(message);
      sampled += body.inputs.length;
      combinations.set(
        body.rid,
        builder.encoded(body).map((encoded) => ({ encoded, received: [] })),
      );
    } else if (message.stream === "THSM_SHARE") {
      const { rid, party, shares = [] } = readShare(message);
      for (const [index, { received }] of (combinations.get(rid) ?? []).entries()) {
        received.push({ party, bytes: Buffer.from(shares[index] ?? "", "base64url") });
      }
    }
    if (claims.length < sampledMessages) claims.push(signatureClaim(builder.cluster, message));
  };
  for (const stream of keptStreams) {
    for await (const entry of exportedHistory(directory).entries(stream)) {
      if ("junk" in entry) throw entry.junk;
      take(entry);
    }
  }
  const { group } = testKey(auditedKey.modulusBits, auditedKey.parties, auditedKey.threshold);
  const verification = secondsOfEach(claims, ({ member, signed, signature }) =>
    member.identity.verify(signed, signature),
  );
  const combination = secondsOfEach([...combinations.values()].flat(), ({ encoded, received }) => {
    const shares = received.map(({ party, bytes }) => parseSignatureShare(group, party, bytes));
    return combine(group, encoded, shares).length === group.modulusLength;
  });
  return messages * verification + signatures * combination;
}

/** Each is done once before it counts: code runs slowly until it is compiled. */
function secondsOfEach<T>(all: readonly T[], isRight: (one: T) => boolean): number {
  let start = 0;
  for (let round = 0; round < 2; round++) {
    start = performance.now();
    if (!all.every((one) => isRight(one))) throw new Error("the history is not right");
  }
  return (performance.now() - start) / 1000 / all.length;
}
