/**
 * @module One signing, joined from the streams: a request with its escalations, the answers of the nodes,
 * and the event that closes it. And whether an answer fits the request that it names.
 */
import type { SigningFailure, SigningResult } from "../../streams/audit-events.js";
import type { StoredMessage } from "../../streams/envelope.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { Read } from "./admit.js";
import type { FindingCode, Report } from "./findings.js";
import type { KeyHistory, KeyRecord } from "./key-history.js";
import type { PartyShares, Terms } from "./signing-job.js";

/** What is kept of a message: enough to find it again. */
export type Reference = Pick<StoredMessage, "seq" | "hash">;

export interface Attempt extends Reference {
  readonly body: SignRequest;
  readonly signing: Signing;
  /** Names of the nodes that have answered this attempt, refusals included. */
  readonly answered: Set<string>;
}

export interface Answer extends PartyShares, Reference {
  readonly node: string;
}

export interface Closing extends Reference {
  readonly body: SigningResult | SigningFailure;
}

export interface Signing {
  readonly attempts: Attempt[];
  /** The first usable answer of each party. */
  readonly answers: Answer[];
  closing?: Closing;
  /** Whether it waits in the line of what is complete. */
  queued: boolean;
  /** Whether it was let go, to be judged. */
  settled: boolean;
}

/** Whether everything that is expected of it has come. */
export function isComplete({ attempts, closing }: Signing, { proposal }: KeyRecord): boolean {
  // Only an application's wish is closed by an event.
  if (closing === undefined && attempts[0]?.body.kind === "sign") return false;
  return attempts.every(({ body, answered }) =>
    body.parties.every((party) => answered.has(proposal.parties[party - 1] ?? "")),
  );
}

/** Whether two requests of one client ask for the same signatures. */
export function sameTerms(one: SignRequest, other: SignRequest): boolean {
  return one.client === other.client && textOf(one) === textOf(other);
}

function textOf(body: SignRequest): string {
  const { key, epoch, algorithm, scheme, encoding, hash, inputs, salts }: Terms = body;
  return JSON.stringify([key, epoch, algorithm, scheme, encoding, hash, inputs, salts]);
}

/**
 * Whether the shares of an answer can be judged as an answer to this request. Everything that is wrong
 * with it is reported, also what does not keep its shares from being judged.
 */
export function checkAnswer(
  attempt: Attempt,
  keys: KeyHistory,
  { message, body }: Read<ShareMessage>,
  report: Report,
): boolean {
  const request = attempt.body;
  const key = keys.get(request.key);
  const tell = (code: FindingCode, what: string): void =>
    report({
      code,
      stream: "THSM_SHARE",
      seq: [message.seq, attempt.seq],
      node: body.node,
      client: request.client,
      key: body.key,
      rid: body.rid,
      session: request.session,
      time: body.time,
      text: `node ${body.node} answered request ${body.rid} of client ${request.client} at ${body.time} ${what}`,
    });

  if (body.request !== attempt.hash || body.reqSeq !== attempt.seq) {
    tell("AUDIT_SHARE_WRONG_REQUEST_HASH", "as another message than is stored");
    return false;
  }
  if (key !== undefined && key.proposal.parties[body.party - 1] !== body.node) {
    tell("AUDIT_SHARE_WRONG_PARTY", `as party ${body.party}, which it is not`);
    return false;
  }
  if (!request.parties.includes(body.party)) tell("AUDIT_SHARE_NOT_ASKED", "without being asked");
  if (
    body.key !== request.key ||
    body.epoch !== request.epoch ||
    body.client !== request.client ||
    body.session !== request.session
  ) {
    tell("AUDIT_SHARE_WRONG_TERMS", "under another key, epoch or session");
    return false;
  }
  if (body.shares === undefined) return false;
  const kind = request.kind === "explain" ? "explanation" : "shares";
  if (body.kind !== kind || body.shares.length !== request.inputs.length) {
    tell("AUDIT_SHARE_WRONG_TERMS", `with ${body.shares.length} shares as ${body.kind}`);
    return false;
  }
  if (body.proofs === undefined && needsProofs(request, key)) {
    tell("AUDIT_WRONG_PROOF", "without the share proofs that are due");
  }
  if (Date.parse(body.time) > Date.parse(request.expires)) {
    tell("AUDIT_SHARE_AFTER_EXPIRY", `after it had expired at ${request.expires}`);
  }
  if (key === undefined) {
    tell("AUDIT_SIGNED_WITH_INACTIVE_KEY", "with a key that was never proposed");
    return false;
  }
  if (!keys.mayUse(request.client, key.proposal.token)) {
    tell("AUDIT_SHARE_AGAINST_POLICY", `though it has no right to token ${key.proposal.token}`);
  }
  checkKeyUse(request, key, body, tell);
  return true;
}

function needsProofs({ kind }: SignRequest, key: KeyRecord | undefined): boolean {
  return kind === "explain" || key?.proposal.proofs === "always";
}

function checkKeyUse(
  request: SignRequest,
  key: KeyRecord,
  { party, n }: ShareMessage,
  tell: (code: FindingCode, what: string) => void,
): void {
  const { proposal, accepted, erased } = key;
  const { encoding, hash, inputs, kind } = request;
  // A test signs its own digest, whatever the policy says.
  const fits =
    kind === "test" ||
    (proposal.encodings.includes(encoding) &&
      (hash === undefined || proposal.hashes.includes(hash)) &&
      inputs.length <= proposal.maxInputs &&
      (proposal.clients?.includes(request.client) ?? true));
  if (!fits) tell("AUDIT_SHARE_AGAINST_POLICY", "though the key's policy does not allow it");
  if (kind === "test" && request.client !== proposal.client) {
    tell("AUDIT_SHARE_AGAINST_POLICY", `though client ${proposal.client} is the key's dealer`);
  }
  // A test comes before activation, and the key may be abandoned after it.
  const wasActive = kind === "test" || key.activation !== undefined;
  const acceptedAt = accepted.get(party) ?? Infinity;
  if (!wasActive || n < acceptedAt) {
    const why = wasActive ? "before it had accepted its share" : "though the key was never active";
    tell("AUDIT_SIGNED_WITH_INACTIVE_KEY", why);
  }
  if (n > (erased.get(party) ?? Infinity)) {
    tell("AUDIT_SHARE_AFTER_ERASED", "after it had confirmed that its share was erased");
  }
}
