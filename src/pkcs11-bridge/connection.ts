/** @module One socket of one application: the hello, then one call at a time. */
import type { Socket } from "node:net";
import type { HsmClient } from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Application, Applications } from "./application.js";
import type { Call, CallContext } from "./calls/call.js";
import { ckr } from "./ckr.js";
import { ckrOf, isTransient } from "./errors-to-ckr.js";
import type { Handler } from "./handlers.js";
import { frame, FrameReader } from "./rpc/framing.js";
import {
  encodeReply,
  encodeWelcome,
  parseHello,
  parseRequest,
  protocolVersion,
  type Greeting,
  type Hello,
  type ReplyKind,
  type Request,
} from "./rpc/messages.js";
import { opName } from "./rpc/ops.js";
import type { User } from "./users.js";

/** How often a call that is under way shows that the daemon lives. */
const signOfLifeMs = 1000;
/** How long a peer may take from the first byte of a frame, or from connecting, to its last. */
const frameTimeoutMs = 10_000;
const maxTimeoutMs = 24 * 3600 * 1000;

/** What all connections share. */
export interface Services {
  readonly applications: Applications;
  readonly handler: Handler;
  /** `undefined` until the client has connected for the first time. */
  client(): HsmClient | undefined;
  /** Fires when the daemon will wait no longer for calls under way. */
  readonly stop: AbortSignal;
  readonly log: Logger;
  countMalformed(): number;
}

export class Connection {
  readonly #socket: Socket;
  readonly #services: Services;
  readonly #user: User;
  readonly #stranger: string | undefined;
  readonly #frames = new FrameReader();
  #frameTimer: NodeJS.Timeout | undefined;
  #hello: Hello | undefined;
  #application: Application | undefined;
  #isBusy = false;
  #isClosing = false;

  /** With `stranger`, why not, the peer may never come in. */
  constructor(socket: Socket, services: Services, user: User, stranger: string | undefined) {
    this.#socket = socket;
    this.#services = services;
    this.#user = user;
    this.#stranger = stranger;
    this.#limitFrame(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#closed());
  }

  /** Ends the connection: now, or after the call under way. */
  close(): void {
    this.#isClosing = true;
    if (!this.#isBusy) this.#socket.destroySoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    if (this.#isClosing && !this.#isBusy) return;
    try {
      for (const payload of this.#frames.push(chunk)) this.#take(payload);
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      const total = this.#services.countMalformed();
      this.#services.log.warn({ reason: describeError(error), total }, "malformed message");
      this.#socket.destroy();
      return;
    }
    this.#limitFrame(this.#frames.isPartial || this.#hello === undefined);
  }

  #limitFrame(isExpected: boolean): void {
    if (isExpected && this.#frameTimer !== undefined) return;
    clearTimeout(this.#frameTimer);
    this.#frameTimer = isExpected
      ? setTimeout(() => this.#socket.destroy(), frameTimeoutMs).unref()
      : undefined;
  }

  #take(payload: Buffer): void {
    if (this.#hello === undefined) {
      this.#greet(parseHello(payload));
      return;
    }
    if (this.#isBusy) throw new HsmError("ERR_INVALID_MESSAGE", "request during a call");
    if (this.#application === undefined) return;
    const request = parseRequest(payload);
    const name = opName(request.op);
    if (name === undefined) throw new HsmError("ERR_INVALID_MESSAGE", `no op ${request.op}`);
    const run = this.#services.handler.prepare(name, request.body);
    void this.#answer(request, name, run, this.#application);
  }

  #greet(hello: Hello): void {
    this.#hello = hello;
    this.#user.silent--;
    const { applications } = this.#services;
    if (hello.version !== protocolVersion) {
      this.#services.log.warn({ version: hello.version }, "module of another protocol version");
      this.#refuse("version");
    } else if (this.#stranger !== undefined) {
      const facts = { program: hello.program, reason: this.#stranger };
      this.#services.log.warn(facts, "connection refused");
      this.#refuse("refused");
    } else if (applications.crowding(hello, this.#user) !== undefined) {
      this.#refuse("busy");
    } else {
      this.#application = applications.attach(hello, this.#user);
      this.#socket.write(frame(encodeWelcome("welcome")));
    }
  }

  /** Not end(): a module that does not read its idle sockets would keep this one half open. */
  #refuse(greeting: Greeting): void {
    this.#socket.write(frame(encodeWelcome(greeting)));
    this.#socket.destroySoon();
  }

  async #answer(
    request: Request,
    name: string,
    run: Call,
    application: Application,
  ): Promise<void> {
    this.#isBusy = true;
    const timer = setInterval(() => this.#reply(request, "working", ckr.OK), signOfLifeMs);
    const startedAt = performance.now();
    try {
      const body = await this.#inTurn(request, run, application);
      this.#reply(request, "final", ckr.OK, body);
      const milliseconds = Math.round(performance.now() - startedAt);
      application.log.debug({ op: name, milliseconds }, "call answered");
    } catch (error) {
      this.#fail(request, name, application, error);
    } finally {
      clearInterval(timer);
      this.#isBusy = false;
      if (this.#isClosing) this.#socket.destroySoon();
    }
  }

  /** One application's many calls take turns, and a user's, so that another's do not stand behind all of them. */
  async #inTurn(request: Request, run: Call, application: Application): Promise<Uint8Array> {
    const { turns, user } = application;
    const deadline = performance.now() + Math.min(Math.max(request.timeoutMs, 1), maxTimeoutMs);
    const leftMs = (): number => Math.max(Math.round(deadline - performance.now()), 1);
    if (turns.isFull) application.noteLimit("maxCallsPerApplication");
    return await turns.during(leftMs(), async () => {
      if (user.turns.isFull) application.noteLimit("maxCallsPerUser");
      return await user.turns.during(leftMs(), async () => {
        // Nobody waits for the answer any more: the turn is for those who do.
        if (this.#socket.destroyed) throw new HsmError("ERR_ABORTED", "the application hung up");
        return await run(this.#context(application, leftMs()));
      });
    });
  }

  #context(application: Application, timeoutMs: number): CallContext {
    const client = this.#services.client();
    if (client === undefined) {
      throw new HsmError("ERR_BROKER_UNREACHABLE", "not connected to the cluster yet");
    }
    return { application, client, options: { timeoutMs, signal: this.#services.stop } };
  }

  #fail(request: Request, name: string, application: Application, error: unknown): void {
    // The next daemon will answer: the module resends what this one did not finish.
    if (this.#services.stop.aborted) return void this.#socket.destroy();
    const code = ckrOf(error);
    const facts = { op: name, ckr: code, reason: describeError(error) };
    if (code === ckr.GENERAL_ERROR) application.log.error(facts, "call failed");
    else if (code === ckr.USER_NOT_LOGGED_IN) application.log.debug(facts, "call failed");
    else application.log.warn(facts, "call failed");
    this.#reply(request, isTransient(error) ? "retry" : "final", code);
  }

  #reply(request: Request, kind: ReplyKind, code: number, body?: Uint8Array): void {
    // A peer that does not read gets no more signs of life into its buffer.
    if (kind === "working" && this.#socket.writableNeedDrain) return;
    if (this.#socket.writable) this.#socket.write(frame(encodeReply(request.id, kind, code, body)));
  }

  #closed(): void {
    this.#isClosing = true;
    clearTimeout(this.#frameTimer);
    const { applications } = this.#services;
    if (this.#hello === undefined) this.#user.silent--;
    else if (this.#application !== undefined) {
      applications.detach(this.#hello, this.#application, this.#services.client());
    }
    applications.users.tidy(this.#user);
  }
}
