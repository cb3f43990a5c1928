/**
 * @module Applications: all sockets with one application id. An application owns its logins and
 * one signing session per token; nobody signs on the strength of another application's login.
 */
import type { HsmClient, SigningSession } from "../client/index.js";
import { describeError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Hello } from "./rpc/messages.js";
import { Turns } from "./turns.js";

/** How long the signing sessions of an application without sockets stay open. */
const lingerMs = 60_000;
/** Programs that come and go by the hundred leave no more than this behind them. */
const maxLingering = 256;

/** What one application may have, so that the others have something too. */
export interface ApplicationLimits {
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
  readonly turns: Turns;
  sockets = 0;
  readonly #reached = new Set<string>();
  readonly #sessions = new Map<string, Promise<SigningSession>>();

  constructor(hello: Hello, maxCalls: number, log: Logger) {
    this.name = `${hello.program}[${hello.pid}]`;
    this.log = log.child({ application: this.name });
    this.turns = new Turns(maxCalls);
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
  readonly #byId = new Map<string, Application>();
  readonly #lingering = new Map<Application, { timer: NodeJS.Timeout; forget: () => void }>();
  readonly #limits: ApplicationLimits;
  readonly #log: Logger;

  constructor(limits: ApplicationLimits, log: Logger) {
    this.#limits = limits;
    this.#log = log;
  }

  /** The application of a hello, when it has sockets here or had some a short while ago. */
  find(hello: Hello): Application | undefined {
    return this.#byId.get(hello.application);
  }

  /** The application of a new socket. */
  attach(hello: Hello): Application {
    const application =
      this.#byId.get(hello.application) ??
      new Application(hello, this.#limits.maxCallsPerApplication, this.#log);
    this.#byId.set(hello.application, application);
    clearTimeout(this.#lingering.get(application)?.timer);
    this.#lingering.delete(application);
    application.sockets++;
    if (application.sockets === 1) application.log.info({}, "application connected");
    return application;
  }

  /**
   * To be called when a socket has closed. With the last one the application's logins end: an
   * application that lives on shows its resume ticket when it comes back.
   */
  detach(hello: Hello, application: Application, client: HsmClient | undefined): void {
    application.sockets--;
    if (application.sockets > 0) return;
    application.logins.clear();
    this.lockIfUnused(client);
    application.log.info({}, "application disconnected");
    const forget = (): void => {
      clearTimeout(this.#lingering.get(application)?.timer);
      this.#byId.delete(hello.application);
      this.#lingering.delete(application);
      void application.closeSessions();
    };
    this.#lingering.set(application, { timer: setTimeout(forget, lingerMs).unref(), forget });
    const [oldest] = this.#lingering.values();
    if (this.#lingering.size > maxLingering) oldest?.forget();
  }

  /** Locks the identity key when no application is logged in. */
  lockIfUnused(client: HsmClient | undefined): void {
    for (const application of this.#byId.values()) {
      if (application.logins.size > 0 || application.pendingLogins > 0) return;
    }
    if (client?.unlocked !== true) return;
    client.lock();
    this.#log.info({}, "identity locked");
  }

  /** Closes every session. */
  async close(): Promise<void> {
    for (const { timer } of this.#lingering.values()) clearTimeout(timer);
    await Promise.all([...this.#byId.values()].map((application) => application.closeSessions()));
  }
}
