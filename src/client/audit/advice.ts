/**
 * @module What each finding means to who has to deal with it, and what to do. docs/audit.md has the same table;
 * a test compares them.
 */
import type { FindingCode } from "./findings.js";

export interface Advice {
  readonly meaning: string;
  readonly advice: string;
}

const history = "A history that was changed: docs/operations.md, “When history was changed”.";
const client =
  "Ask the client's administrator. If nobody can explain it, replace the client's identity and look at what it signed.";
const node =
  "Look after the node: docs/operations.md, “A node that lies”. Replace it if nobody can explain it.";
const nothing = "Nothing.";

function of(meaning: string, advice: string): Advice {
  return { meaning, advice };
}

export const adviceFor: Readonly<Record<FindingCode, Advice>> = {
  AUDIT_BAD_SIGNATURE: of(
    "A message is not signed by the member whose key it names: forged, or altered in the store.",
    history,
  ),
  AUDIT_UNKNOWN_SENDER: of(
    "Signed by nobody in cluster.toml, or by another member than the message names.",
    "Is cluster.toml the newest? If so somebody else writes to the bus: look at who may log in to NATS.",
  ),
  AUDIT_BAD_MESSAGE: of(
    "A message has not the shape of its stream, or payload and subject disagree.",
    "Its sender runs other software than this, or is taken over: look after it.",
  ),
  AUDIT_UNKNOWN_EVENT: of(
    "An event of a later version; signature and chain were checked, the meaning was not.",
    "Audit with the newest version that runs in the cluster.",
  ),
  AUDIT_SEQUENCE_GAP: of("Entries of a stream are missing: they were deleted.", history),
  AUDIT_ROLLED_BACK: of(
    "A stream is not what it was at an earlier audit: cut, replaced by a backup, or written anew.",
    history,
  ),
  AUDIT_CHECKPOINT_BAD: of(
    "A checkpoint is not its node's, or not one that an honest node writes.",
    node,
  ),
  AUDIT_CHECKPOINT_WRONG_ROOT: of("A node has seen other requests than are stored.", history),
  AUDIT_CHECKPOINT_BEYOND_STREAM: of(
    "A node has seen more requests than are stored: the history's end was cut off.",
    history,
  ),
  AUDIT_CHECKPOINT_NOT_RECORDED: of(
    "A checkpoint kept elsewhere is signed by a node whose record lacks it: cut off or replaced.",
    history,
  ),
  AUDIT_NODE_INCONSISTENT: of(
    "A node says that THSM_REQ showed it another history than before.",
    history,
  ),
  AUDIT_SESSION_NOT_OPENED: of("The event that opened a session is missing.", history),
  AUDIT_SESSION_GAP: of(
    "Requests of a session are missing, doubled, or not as many as its end says.",
    history,
  ),
  AUDIT_SESSION_DUPLICATE: of("Two different events open or close one session.", client),
  AUDIT_SESSION_WRONG_TOKEN: of("A request for a key of another token than its session's.", client),
  AUDIT_SESSION_OPEN: of("A session was not closed: the program runs, or crashed.", nothing),
  AUDIT_CHAIN_GAP: of(
    "Messages of a node, or events of a session, are missing between others of it.",
    history,
  ),
  AUDIT_CHAIN_FORK: of(
    "A node signed two different messages with one number, or a client two events of a session.",
    "It ran twice with one identity, or from a restored copy, or it lies. Stop it, and give it a new identity.",
  ),
  AUDIT_CHAIN_BROKEN: of("A message does not follow the one before it in its chain.", node),
  AUDIT_CHAIN_ORDER: of(
    "A message stands behind a later one of its chain: published again, or moved.",
    "Nothing, if it is rare. Often: somebody replays messages.",
  ),
  AUDIT_REQUEST_DUPLICATE: of("Two requests of a client have one id.", client),
  AUDIT_REQUEST_WRONG_ATTEMPT: of(
    "An escalation of nothing, of something else, or after everything was over.",
    client,
  ),
  AUDIT_REQUEST_UNKNOWN_KEY: of(
    "A request for a key that was never proposed; no honest node answers it.",
    "Nothing, unless the program should know its keys.",
  ),
  AUDIT_REQUEST_WITHOUT_RESULT: of(
    "No event closes a request: the client crashed, or was cut off.",
    "Nothing; see what the client's log says of that time.",
  ),
  AUDIT_SHARE_WITHOUT_REQUEST: of("A node answered a request that is not stored.", history),
  AUDIT_SHARE_WRONG_REQUEST_HASH: of(
    "A node saw another request, or saw it in another place, than is stored.",
    history,
  ),
  AUDIT_SHARE_WRONG_TERMS: of("Key, epoch, kind or number of shares are not the request's.", node),
  AUDIT_SHARE_NOT_ASKED: of("A node answered that was not asked.", node),
  AUDIT_SHARE_WRONG_PARTY: of("A node answered for a party that it is not.", node),
  AUDIT_SHARE_AFTER_EXPIRY: of(
    "A node answered after the request had expired.",
    "Look at the node's clock.",
  ),
  AUDIT_SHARE_DUPLICATE: of("A node gave two different answers to one request.", node),
  AUDIT_SHARE_NOT_JUDGED: of(
    "An answer so late that the audit did not hold its request any more.",
    nothing,
  ),
  AUDIT_SHARE_AGAINST_POLICY: of("A node signed what the key's policy forbids.", node),
  AUDIT_SHARE_AFTER_ERASED: of(
    "A node signed with a share whose erasure it had confirmed: there is a copy.",
    "The key is not destroyed until that copy is. Look after the node and its backups.",
  ),
  AUDIT_SIGNED_WITH_INACTIVE_KEY: of("A node signed with a key that was not active for it.", node),
  AUDIT_WRONG_SHARE: of("Proven: a node signed a share that is not its party's.", node),
  AUDIT_SUSPECT_SHARE: of(
    "Shares do not go together, and too few are there to tell which of them are wrong.",
    "The nodes named in the text: look at their logs, and for a pattern over several such findings.",
  ),
  AUDIT_WRONG_PROOF: of("A share proof does not hold, or is missing where it is due.", node),
  AUDIT_RESULT_WITHOUT_REQUEST: of(
    "A client recorded a result of nothing that is stored.",
    history,
  ),
  AUDIT_RESULT_WITHOUT_QUORUM: of(
    "The shares that a result names are not stored, not k, or make no signature.",
    "Shares were removed, or the client invents results. Is the signature valid? Then k nodes made it all the same: look at theirs and at the store.",
  ),
  AUDIT_RESULT_WRONG_SIGNATURE: of(
    "A recorded signature does not verify under the key.",
    "The client records what it did not get: look after it. No harm came of the signature: nobody accepts it.",
  ),
  AUDIT_RESULT_WRONG_TERMS: of("Key, epoch or number of signatures are not the request's.", client),
  AUDIT_RESULT_DUPLICATE: of("A request was closed by two different events.", client),
  AUDIT_RESULT_NOT_JUDGED: of(
    "A result so late that its signatures were not verified any more.",
    "thsm audit explain with the request's id.",
  ),
  AUDIT_RESULT_FALSE_BLAME: of(
    "A result calls a node a culprit, and nothing on record proves it.",
    "The client is wrong or lies: look after it. The node may be cleared (thsm node clear).",
  ),
  AUDIT_NODE_CULPRIT: of("A client proved by signed messages what a node did.", node),
  AUDIT_NODE_SUSPECT: of(
    "A client saw of a node what it cannot prove to others.",
    "Look after the node if several clients say so, or one again and again.",
  ),
  AUDIT_FALSE_BLAME: of(
    "A client calls a node a culprit, and its messages do not prove it.",
    "The client is wrong or lies: look after it.",
  ),
  AUDIT_ROTATED: of(
    "An operator let go of old entries, which an export keeps.",
    "Was it you? Name the export with --with, and keep it: thsm audit import checks it by its manifest.",
  ),
  AUDIT_NODE_CLEARED: of("An operator settled what was said of a node.", nothing),
  AUDIT_KEY_EVENT_ILLEGAL: of(
    "A step of a key's life out of turn, by somebody who may not take it, or with impossible numbers.",
    "It has no effect anywhere. Look after who said it.",
  ),
  AUDIT_KEY_UNTESTED: of(
    "A key was activated without a recorded test signature.",
    "Do not use the key before it has signed something that you verified; ask its dealer.",
  ),
  AUDIT_KEY_EVENT_REPEATED: of("A step of a key's life that had been taken before.", nothing),
};
