/**
 * @module Applications: all sockets of one user with one application id. An application owns its
 * logins and one signing session per token; nobody signs on the strength of another application's login.
 */
import type { HsmClient, SigningSession } from "../client/index.js";
import { describeError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Hello } from "./rpc/messages.js";
import { Turns } from "./turns.js";
import { Users, type User, type UserLimits } from "./users.js";

/** How long the signing sessions of an application without sockets stay open. */
const lingerMs = 60_000;
/** Programs that come and go by the hundred leave no more than this behind them. */
const maxLingering = 256;

/** What one application and one user may have, so that the others have something too. */
export interface ApplicationLimits extends UserLimits {
  /** All connections together. */
  readonly maxConnections: number;
  readonly maxConnectionsPerApplication: number;
  readonly maxCallsPerApplication: number;
}

export class Application {
  /** What logs and audit trail show. */
  readonly name: string;
  readonly log: Logger;
  readonly logins: Set<string> = new Set();
  /** Logins under way: they keep the identity open too. */
  pendingLogins = 0;
  readonly user: User;
  readonly turns: Turns;
  sockets = 0;
  readonly #reached = new Set<string>();
  readonly #sessions = new Map<string, Promise<SigningSession>>();

  constructor(hello: Hello, user: User, maxCalls: number, log: Logger) {
    this.name = `${hello.program}[${hello.pid}]`;
    this.log = log.child({ application: this.name });
    this.user = user;
    this.turns = new Turns(maxCalls, "maxCallsPerApplication");
  }

  /** Logs once for each limit: an application at its limit comes back all the time. */
  noteLimit(limit: string): void {
    if (this.#reached.has(limit)) return;
    this.#reached.add(limit);
    this.log.warn({ limit }, "application at its limit");
  }

  /** The application's session with a token, opened at its first use. */
  session(client: HsmClient, token: string): Promise<SigningSession> {
    const open = this.#sessions.get(token);
    if (open !== undefined) return open;
    const opening = client.openSession(token, this.name);
    this.#sessions.set(token, opening);
    // A failed opening is not kept: the next signature tries again.
    opening.catch(() => this.#sessions.delete(token));
    return opening;
  }

  async closeSessions(): Promise<void> {
    const closing = [...this.#sessions.values()].map(async (opening) => (await opening).close());
    this.#sessions.clear();
    for (const outcome of await Promise.allSettled(closing)) {
      if (outcome.status === "rejected") {
        this.log.debug({ reason: describeError(outcome.reason) }, "session not closed");
      }
    }
  }
}

/** All applications that have sockets here, or had some a short while ago. */
export class Applications {
  readonly users: Users;
  /** Another user's application with the same id is another application. */
  readonly #byUserAndId = new Map<string, Application>();
  readonly #lingering = new Map<Application, { timer: NodeJS.Timeout; forget: () => void }>();
  readonly #limits: ApplicationLimits;
  readonly #log: Logger;
  #sockets = 0;

  constructor(limits: ApplicationLimits, log: Logger) {
    this.#limits = limits;
    this.#log = log;
    this.users = new Users(limits);
  }

  /** The limit that forbids the application of a hello one more connection; it is logged. */
  crowding(hello: Hello, user: User): string | undefined {
    const known = this.#byUserAndId.get(keyOf(hello, user));
    const limit = this.#limitReached(known?.sockets ?? 0, user.sockets);
    if (limit === undefined) return undefined;
    if (known === undefined) user.noteLimit(limit, hello.program, this.#log);
    else known.noteLimit(limit);
    return limit;
  }

  #limitReached(ofApplication: number, ofUser: number): keyof ApplicationLimits | undefined {
    const { maxConnectionsPerApplication, maxConnectionsPerUser, maxConnections } = this.#limits;
    if (ofApplication >= maxConnectionsPerApplication) return "maxConnectionsPerApplication";
    if (ofUser >= shareOf(maxConnectionsPerUser, ofApplication)) return "maxConnectionsPerUser";
    return this.#sockets >= shareOf(maxConnections, ofUser) ? "maxConnections" : undefined;
  }

  /** The application of a new socket. */
  attach(hello: Hello, user: User): Application {
    const key = keyOf(hello, user);
    let application = this.#byUserAndId.get(key);
    if (application === undefined) {
      const { maxCallsPerApplication } = this.#limits;
      application = new Application(hello, user, maxCallsPerApplication, this.#log);
      this.#byUserAndId.set(key, application);
      user.applications++;
    }
    clearTimeout(this.#lingering.get(application)?.timer);
    this.#lingering.delete(application);
    application.sockets++;
    user.sockets++;
    this.#sockets++;
    if (application.sockets === 1) application.log.info({}, "application connected");
    return application;
  }

  /**
   * To be called when a socket has closed. With the last one the application's logins end: an
   * application that lives on shows its resume ticket when it comes back.
   */
  detach(hello: Hello, application: Application, client: HsmClient | undefined): void {
    const { user } = application;
    application.sockets--;
    user.sockets--;
    this.#sockets--;
    if (application.sockets > 0) return;
    application.logins.clear();
    this.lockIfUnused(client);
    application.log.info({}, "application disconnected");
    const forget = (): void => {
      clearTimeout(this.#lingering.get(application)?.timer);
      this.#byUserAndId.delete(keyOf(hello, user));
      user.applications--;
      this.users.tidy(user);
      this.#lingering.delete(application);
      void application.closeSessions();
    };
    this.#lingering.set(application, { timer: setTimeout(forget, lingerMs).unref(), forget });
    const [oldest] = this.#lingering.values();
    if (this.#lingering.size > maxLingering) oldest?.forget();
  }

  /** Locks the identity key when no application is logged in. */
  lockIfUnused(client: HsmClient | undefined): void {
    for (const application of this.#byUserAndId.values()) {
      if (application.logins.size > 0 || application.pendingLogins > 0) return;
    }
    if (client?.unlocked !== true) return;
    client.lock();
    this.#log.info({}, "identity locked");
  }

  /** Closes every session. */
  async close(): Promise<void> {
    for (const { timer } of this.#lingering.values()) clearTimeout(timer);
    const all = [...this.#byUserAndId.values()];
    await Promise.all(all.map((application) => application.closeSessions()));
  }
}

function keyOf({ application }: Hello, { uid }: User): string {
  return `${uid}/${application}`;
}

/** Of any limit the last quarter is for those who have nothing yet. */
function shareOf(limit: number, own: number): number {
  return own === 0 ? limit : Math.ceil(limit * 0.75);
}
