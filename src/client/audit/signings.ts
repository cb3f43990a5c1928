/**
 * @module The join of requests, answers and results by request id. Messages may come in any order across
 * streams: what comes before the request that it names waits for it.
 *
 * Memory: a signing is held whole until it is closed and everybody who was asked has answered, and then
 * for `heldInputs` inputs more, because another stream may lag (a late escalation, say). Afterwards
 * about 35 bytes of a request stay, to know its id again. A signing that never completes (a silent node, a
 * crashed client) is held until `openInputs` are; then it is judged by what there is. Of a node that
 * answers even later it is noted that nobody looked at its shares. As many inputs wait for requests that are not
 * there; then what has waited longest counts as answering none.
 */
import type { SigningFailure, SigningResult } from "../../streams/audit-events.js";
import type { SignRequest } from "../../streams/requests.js";
import type { ShareMessage } from "../../streams/shares.js";
import type { Read } from "./admit.js";
import type { Report } from "./findings.js";
import type { KeyHistory } from "./key-history.js";
import { Settled } from "./settled.js";
import { closingFacts, requestFacts, shareFacts } from "./signing-facts.js";
import { checkAnswer, isComplete, sameTerms, type Attempt, type Signing } from "./signing.js";
import { WaitingRoom, type Waiting } from "./waiting.js";

export interface SigningsOptions {
  readonly keys: KeyHistory;
  readonly report: Report;
  /** Inputs of complete signings that are held. */
  readonly heldInputs: number;
  /** Inputs of all signings that are held, and of what waits for its request. */
  readonly openInputs: number;
  /** Takes a signing to which nothing will be added. */
  readonly onSettled: (signing: Signing) => void;
}

export class Signings {
  readonly #options: SigningsOptions;
  /** Every attempt that is held, by `nameOf`; so are the others. */
  readonly #attempts = new Map<string, Attempt>();
  readonly #settled = new Settled();
  readonly #waiting: WaitingRoom;
  /** Complete signings, oldest first. */
  readonly #line: Signing[] = [];
  #inLine = 0;
  /** Inputs of all signings that are held. */
  #heldInputs = 0;

  constructor(options: SigningsOptions) {
    this.#options = options;
    this.#waiting = new WaitingRoom(options.openInputs);
  }

  request(read: Read<SignRequest>): void {
    const { report } = this.#options;
    const { of, kind, attempt } = read.body;
    if (this.#attempts.has(nameOf(read.body)) || this.#settled.has(read.body)) {
      report(requestFacts("AUDIT_REQUEST_DUPLICATE", read, "is stored twice"));
      return;
    }
    if (kind !== "explain" && (attempt === 1) !== (of === undefined)) {
      report(
        requestFacts(
          "AUDIT_REQUEST_WRONG_ATTEMPT",
          read,
          `calls itself attempt ${attempt} of ${of}`,
        ),
      );
    } else if (of !== undefined) {
      this.#follow(read, of);
      return;
    }
    this.#begin(read);
  }

  share(read: Read<ShareMessage>): void {
    const { keys, report } = this.#options;
    const { message, body } = read;
    const name = nameOf(body);
    const attempt = this.#attempts.get(name);
    if (attempt === undefined) {
      if (!this.#settled.has(body)) this.#wait(name, { kind: "share", ...read });
      else if (this.#settled.takeOwed(body, body.party)) {
        const what = "so late that its shares were not judged any more";
        report(shareFacts("AUDIT_SHARE_NOT_JUDGED", read, what));
      } else
        report(shareFacts("AUDIT_SHARE_NOT_ASKED", read, "after everybody asked had answered"));
      return;
    }
    const { signing, answered } = attempt;
    if (answered.has(body.node)) {
      report(shareFacts("AUDIT_SHARE_DUPLICATE", read, "a second time, in other words"));
    }
    const isUsable = checkAnswer(attempt, keys, read, report);
    answered.add(body.node);
    if (isUsable && body.shares !== undefined) {
      const { party, node, shares, proofs } = body;
      const known = signing.answers.find((answer) => answer.party === party);
      if (known === undefined) {
        const { seq, hash } = message;
        const proven = proofs === undefined ? {} : { proofs };
        signing.answers.push({ party, node, shares, seq, hash, ...proven });
      } else if (known.shares.join() !== shares.join()) {
        report(shareFacts("AUDIT_SHARE_DUPLICATE", read, "with other shares of the same inputs"));
      }
    }
    this.#queue(signing);
  }

  /** A result, or the failure of a request. */
  closing(read: Read<SigningResult | SigningFailure>): void {
    const { report } = this.#options;
    const { message, body } = read;
    const name = nameOf(body);
    const attempt = this.#attempts.get(name);
    if (attempt === undefined && this.#settled.has(body) && !this.#settled.close(body)) {
      const what = "so late that its signatures were not verified any more";
      report(closingFacts("AUDIT_RESULT_NOT_JUDGED", read, what));
    } else if (attempt?.signing.closing !== undefined || this.#settled.has(body)) {
      report(
        closingFacts("AUDIT_RESULT_DUPLICATE", read, "which had been closed otherwise before"),
      );
    } else if (attempt === undefined) this.#wait(name, { kind: "closing", ...read });
    else {
      const wrong = wrongTerms(attempt.body, body);
      if (wrong !== undefined) {
        // It closes nothing: another event may, and is judged.
        report(closingFacts("AUDIT_RESULT_WRONG_TERMS", read, wrong));
        return;
      }
      const { seq, hash } = message;
      attempt.signing.closing = { seq, hash, body };
      this.#queue(attempt.signing);
    }
  }

  /** Settles what is left, complete or not, and reports what has waited in vain. */
  finish(): void {
    const what = "which is not stored";
    this.#giveUp(
      this.#waiting.all().filter(({ kind }) => kind === "request"),
      what,
    );
    this.#giveUp(this.#waiting.all(), what);
    for (const { signing } of this.#attempts.values()) this.#settle(signing);
  }

  #begin(read: Read<SignRequest>): void {
    const signing: Signing = { attempts: [], answers: [], queued: false, settled: false };
    this.#join(read, signing);
    this.#heldInputs += inputsOf(signing);
    this.#letGo();
  }

  /** What never completes (a silent node, a crashed client) must not fill the memory: the oldest goes. */
  #letGo(): void {
    while (this.#heldInputs > this.#options.openInputs) {
      const oldest = this.#attempts.values().next().value?.signing;
      if (oldest === undefined) return;
      this.#settle(oldest);
    }
  }

  /** A request that refers to an earlier one: an escalation, or the wish for an explanation. */
  #follow(read: Read<SignRequest>, of: string): void {
    const { report } = this.#options;
    const { kind, client, session, attempt } = read.body;
    const name = nameOf({ client, rid: of });
    const first = this.#attempts.get(name);
    if (first === undefined) {
      if (!this.#settled.has({ client, rid: of })) this.#wait(name, { kind: "request", ...read });
      // An explanation may be asked for at any time.
      else if (kind === "explain") this.#begin(read);
      else {
        report(
          requestFacts("AUDIT_REQUEST_WRONG_ATTEMPT", read, `comes long after ${of} was over`),
        );
        this.#begin(read);
      }
      return;
    }
    const fits =
      sameTerms(first.body, read.body) &&
      (kind === "explain" ||
        (first.body.attempt === 1 &&
          first.body.kind === kind &&
          first.body.session === session &&
          first.signing.attempts.every(({ body }) => body.attempt !== attempt)));
    if (!fits) {
      const what = `does not repeat ${of}, which it says it does`;
      report(requestFacts("AUDIT_REQUEST_WRONG_ATTEMPT", read, what));
    }
    if (fits && kind !== "explain") this.#join(read, first.signing);
    else this.#begin(read);
  }

  #join({ message, body }: Read<SignRequest>, signing: Signing): void {
    const { seq, hash } = message;
    const attempt: Attempt = { seq, hash, body, signing, answered: new Set() };
    signing.attempts.push(attempt);
    const name = nameOf(body);
    this.#attempts.set(name, attempt);
    for (const one of this.#waiting.take(name)) {
      if (one.kind === "request") this.request(one);
      else if (one.kind === "share") this.share(one);
      else this.closing(one);
    }
  }

  #wait(name: string, waiting: Waiting): void {
    this.#waiting.add(name, waiting);
    const what = `which is not stored, or more than ${this.#options.openInputs} inputs behind it`;
    for (;;) {
      const gone = this.#waiting.takeOverflow();
      if (gone.length === 0) return;
      this.#giveUp(gone, what);
    }
  }

  /** Reports what has waited in vain. */
  #giveUp(gone: readonly Waiting[], what: string): void {
    const { report } = this.#options;
    for (const one of gone) {
      if (one.kind === "share") report(shareFacts("AUDIT_SHARE_WITHOUT_REQUEST", one, what));
      else if (one.kind === "closing") {
        report(closingFacts("AUDIT_RESULT_WITHOUT_REQUEST", one, what));
      } else if (!this.#attempts.has(nameOf(one.body))) {
        const first = `is an attempt of ${one.body.of}, ${what}`;
        report(requestFacts("AUDIT_REQUEST_WRONG_ATTEMPT", one, first));
        this.#begin(one);
      }
    }
  }

  #queue(signing: Signing): void {
    if (signing.queued || !this.#isComplete(signing)) return;
    signing.queued = true;
    this.#line.push(signing);
    this.#inLine += inputsOf(signing);
    while (this.#inLine > this.#options.heldInputs) {
      const oldest = this.#line.shift();
      if (oldest === undefined) return;
      this.#inLine -= inputsOf(oldest);
      oldest.queued = false;
      // An escalation that came meanwhile may have made it incomplete again.
      if (!oldest.settled && this.#isComplete(oldest)) this.#settle(oldest);
    }
  }

  #isComplete(signing: Signing): boolean {
    const key = this.#options.keys.get(signing.attempts[0]?.body.key ?? "");
    return key !== undefined && isComplete(signing, key);
  }

  #settle(signing: Signing): void {
    signing.settled = true;
    this.#heldInputs -= inputsOf(signing);
    const parties = this.#options.keys.get(signing.attempts[0]?.body.key ?? "")?.proposal.parties;
    for (const { body, answered } of signing.attempts) {
      this.#attempts.delete(nameOf(body));
      const owed = body.parties.filter((party) => !answered.has(parties?.[party - 1] ?? ""));
      this.#settled.add(body, signing.closing !== undefined, owed);
    }
    this.#options.onSettled(signing);
  }
}

/** Request ids are public: another client's request with the same one is another request. */
function nameOf({ client, rid }: { readonly client: string; readonly rid: string }): string {
  return `${client}.${rid}`;
}

function inputsOf({ attempts }: Signing): number {
  return attempts[0]?.body.inputs.length ?? 0;
}

/** What of a result is not its request's. */
function wrongTerms(
  request: SignRequest,
  body: SigningResult | SigningFailure,
): string | undefined {
  if (request.attempt !== 1) return "naming not its first attempt but a later one";
  if (body.session !== request.session) {
    return "in a session that is not the request's";
  }
  const epoch = body.type === "result" ? body.epoch : request.epoch;
  if (body.key !== request.key || epoch !== request.epoch) {
    return "under a key or epoch that is not the request's";
  }
  if (body.type === "result" && body.signatures.length !== request.inputs.length) {
    return `with ${body.signatures.length} signatures for ${request.inputs.length} inputs`;
  }
  return undefined;
}
