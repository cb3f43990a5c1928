/**
 * @module The users of this host whose programs are connected, by the kernel's word. An application
 * names itself: limits by that name alone would give a program the share of as many as it says it is.
 */
import type { Logger } from "../log.js";
import { Turns } from "./turns.js";

export interface UserLimits {
  readonly maxConnectionsPerUser: number;
  readonly maxCallsPerUser: number;
}

export class User {
  readonly uid: number;
  readonly turns: Turns;
  /** Sockets that have not said whose they are. */
  silent = 0;
  /** Sockets that were welcomed. */
  sockets = 0;
  /** Applications that are remembered. */
  applications = 0;
  readonly #reached = new Set<string>();

  constructor(uid: number, maxCalls: number) {
    this.uid = uid;
    this.turns = new Turns(maxCalls, "maxCallsPerUser");
  }

  /** Logs once for each limit, as `Application.noteLimit`. */
  noteLimit(limit: string, program: string, log: Logger): void {
    if (this.#reached.has(limit)) return;
    this.#reached.add(limit);
    log.warn({ limit, uid: this.uid, program }, "user at the limit");
  }
}

/** All that have a socket here, or an application that is remembered. */
export class Users {
  readonly #byUid = new Map<number, User>();
  readonly #limits: UserLimits;

  constructor(limits: UserLimits) {
    this.#limits = limits;
  }

  /** The user of a new socket; undefined when too many of theirs have said nothing yet. */
  admit(uid: number): User | undefined {
    const user = this.#byUid.get(uid) ?? new User(uid, this.#limits.maxCallsPerUser);
    if (user.silent >= this.#limits.maxConnectionsPerUser) return undefined;
    this.#byUid.set(uid, user);
    user.silent++;
    return user;
  }

  /** To be called when something of a user has ended. */
  tidy(user: User): void {
    if (user.silent + user.sockets + user.applications === 0) this.#byUid.delete(user.uid);
  }
}
