/**
 * @module Sessions: opened once, requests 1, 2, 3 … without gap or repeat, closed with their number.
 * Order across streams cannot be trusted, so all of this is judged at the end.
 */
import type { SessionClosed, SessionOpened } from "../../streams/audit-events.js";
import type { SignRequest } from "../../streams/requests.js";
import type { StreamName } from "../../streams/subjects.js";
import type { Read } from "./admit.js";
import type { FindingCode, Report } from "./findings.js";

interface Session {
  readonly id: string;
  readonly client: string;
  opened?: { readonly seq: number } & Pick<SessionOpened, "token" | "application" | "time">;
  closed?: { readonly seq: number; readonly requests: number };
  /** Requests 1…`upTo` are there. */
  upTo: number;
  /** Those beyond → where. */
  readonly ahead: Map<number, number>;
  /** Where its first stored request is. */
  firstAt: number;
  /** Tokens of the keys that were asked for → where the first such request is. */
  readonly tokens: Map<string, number>;
}

export class Sessions {
  readonly #report: Report;
  readonly #sessions = new Map<string, Session>();

  constructor(report: Report) {
    this.#report = report;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** `token`: of the request's key, if there is such a key. */
  request({ message, body }: Read<SignRequest>, token: string | undefined): void {
    const session = this.#of(body);
    if (session.firstAt === 0) session.firstAt = message.seq;
    if (token !== undefined && !session.tokens.has(token)) session.tokens.set(token, message.seq);
    const { seq } = body;
    if (seq < 1 || seq <= session.upTo || session.ahead.has(seq)) {
      const what = `has a second request numbered ${seq}`;
      this.#tell("AUDIT_SESSION_GAP", "THSM_REQ", message.seq, session, what);
      return;
    }
    session.ahead.set(seq, message.seq);
    while (session.ahead.delete(session.upTo + 1)) session.upTo++;
  }

  event({ message, body }: Read<SessionOpened | SessionClosed>): void {
    const session = this.#of(body);
    const { seq } = message;
    const known = body.type === "session-opened" ? session.opened : session.closed;
    if (known !== undefined) {
      const what = `has a second ${body.type} event of ${body.time}`;
      this.#tell("AUDIT_SESSION_DUPLICATE", "THSM_AUDIT", seq, session, what);
    } else if (body.type === "session-opened") {
      const { token, application, time } = body;
      session.opened = { seq, token, application, time };
    } else session.closed = { seq, requests: body.requests };
  }

  finish(): void {
    for (const session of this.#sessions.values()) {
      const { opened, closed } = session;
      const tell = (code: FindingCode, stream: StreamName, seq: number, what: string): void =>
        this.#tell(code, stream, seq, session, what);

      if (opened === undefined) {
        const what = "was never opened";
        if (closed !== undefined) tell("AUDIT_SESSION_NOT_OPENED", "THSM_AUDIT", closed.seq, what);
        else tell("AUDIT_SESSION_NOT_OPENED", "THSM_REQ", session.firstAt, what);
      } else {
        for (const [token, seq] of session.tokens) {
          if (token === opened.token) continue;
          const what = `was opened for token ${opened.token} and used a key of ${token}`;
          tell("AUDIT_SESSION_WRONG_TOKEN", "THSM_REQ", seq, what);
        }
      }
      this.#finishNumbers(session, tell);
      if (opened !== undefined && closed === undefined) {
        const what = `of ${opened.application}, opened at ${opened.time}, is still open`;
        tell("AUDIT_SESSION_OPEN", "THSM_AUDIT", opened.seq, what);
      }
    }
  }

  #finishNumbers(
    { closed, upTo, ahead }: Session,
    tell: (code: FindingCode, stream: StreamName, seq: number, what: string) => void,
  ): void {
    let expected = upTo + 1;
    for (const [seq, at] of [...ahead].toSorted(([one], [other]) => one - other)) {
      const last = seq - 1;
      const which = last === expected ? `request ${last}` : `requests ${expected} to ${last}`;
      if (last >= expected) tell("AUDIT_SESSION_GAP", "THSM_REQ", at, `lacks its ${which}`);
      expected = seq + 1;
    }
    const found = expected - 1;
    if (closed !== undefined && closed.requests !== found) {
      const what = `was closed after ${closed.requests} requests, but the last stored is number ${found}`;
      tell("AUDIT_SESSION_GAP", "THSM_AUDIT", closed.seq, what);
    }
  }

  #of({ client, session: id }: { readonly client: string; readonly session: string }): Session {
    // A session is one client's: the same id of two clients is two sessions.
    const name = `${client} ${id}`;
    let session = this.#sessions.get(name);
    if (session === undefined) {
      session = { id, client, upTo: 0, ahead: new Map(), firstAt: 0, tokens: new Map() };
      this.#sessions.set(name, session);
    }
    return session;
  }

  #tell(
    code: FindingCode,
    stream: StreamName,
    seq: number,
    { id, client }: Session,
    what: string,
  ): void {
    this.#report({
      code,
      stream,
      seq: [seq],
      client,
      session: id,
      text: `session ${id} of client ${client} ${what}`,
    });
  }
}
