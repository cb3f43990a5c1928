/** @module The client: connects in the background, and gives every call a deadline. */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { describeError, HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import { modulusSizes } from "../scheme/index.js";
import type {
  CallOptions,
  DestroyResult,
  GenerateKeyOptions,
  HsmClient,
  KeyInfo,
  PinState,
  SigningSession,
  Names,
  StoreObjectOptions,
  TokenObject,
} from "./api.js";
import { isConnected } from "../streams/connection.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { ObjectStored } from "../streams/objects.js";
import { openBus, type Bus } from "./bus.js";
import type { ClientConfig } from "./config.js";
import { Dealer } from "./dealer.js";
import { destroyKey } from "./destroy.js";
import type { IdentityLock } from "./identity-lock.js";
import { decide } from "./key-decisions.js";
import { checkWish, keyIdOf, type ProposalTerms } from "./key-proposal.js";
import { dealKeyOut } from "./keygen.js";
import { OverdueKeys } from "./overdue-keys.js";
import { Session } from "./session.js";
import { objectOf, relabelKey, relabelObject, removeObject, storeObject } from "./token-objects.js";
import { within } from "./within.js";

const keygenMs = 1_200_000;
const connectMs = 10_000;
const retryMs = 500;
/** How long a closing client takes to abandon the key that it is dealing. */
const abandonMs = 3000;

export class Client implements HsmClient {
  readonly name: string;
  readonly tokens: readonly string[];
  readonly #config: ClientConfig;
  readonly #cluster: Cluster;
  readonly #identity: IdentityLock;
  readonly #log: Logger;
  /** Settles once NATS is there and the key directory is replayed. */
  readonly #opening: Promise<Bus>;
  #bus: Bus | undefined;
  #overdue: OverdueKeys | undefined;
  readonly #closing = new AbortController();
  readonly #sessions = new Set<Session>();
  /** Dealing processes that have found their primes, or are at it. */
  readonly #prepared = new Map<number, Dealer>();
  /** Key generations under way in this process, by key id. */
  readonly #generating = new Map<string, Promise<KeyInfo>>();

  constructor(config: ClientConfig, cluster: Cluster, identity: IdentityLock, log: Logger) {
    this.name = config.name;
    this.tokens = cluster.tokensOf(config.name).map(({ name }) => name);
    this.#config = config;
    this.#cluster = cluster;
    this.#identity = identity;
    this.#log = log;
    this.#opening = this.#open();
    // Calls see the failure; nobody else need.
    this.#opening.catch(() => undefined);
  }

  get connected(): boolean {
    return this.#bus !== undefined && isConnected(this.#bus.connection);
  }

  get unlocked(): boolean {
    return this.#identity.isOpen;
  }

  unlock(pin: string): Promise<Uint8Array> {
    return this.#identity.open(withoutLineBreak(pin));
  }

  unlockWithTicket(ticket: Uint8Array): Promise<void> {
    return this.#identity.openWithTicket(ticket);
  }

  pinState(): Promise<PinState> {
    return this.#identity.pinState();
  }

  changePin(oldPin: string, newPin: string): Promise<Uint8Array> {
    return this.#identity.changePin(withoutLineBreak(oldPin), withoutLineBreak(newPin));
  }

  checkRecoveryCode(recoveryCode: string): Promise<void> {
    return this.#identity.checkRecoveryCode(recoveryCode);
  }

  resetPin(recoveryCode: string, newPin: string): Promise<Uint8Array> {
    return this.#identity.resetPin(recoveryCode, withoutLineBreak(newPin));
  }

  lock(): void {
    this.#identity.close();
  }

  async keys(token: string, options: CallOptions = {}): Promise<readonly KeyInfo[]> {
    this.#requireToken(token);
    const bus = await this.#ready(options);
    return bus.keys.active(token);
  }

  get keysRevision(): number {
    return this.#bus?.keys.revision ?? 0;
  }

  async openSession(token: string, application: string): Promise<SigningSession> {
    this.#requireToken(token);
    const bus = await this.#ready({});
    this.#identity.require();
    return this.#session(bus, token, application);
  }

  prepareKey(modulusBits: number): void {
    const known = this.#prepared.get(modulusBits);
    if (known?.isAlive === true || this.#closing.signal.aborted) return;
    if (modulusSizes.includes(modulusBits)) {
      this.#prepared.set(modulusBits, new Dealer(modulusBits));
    }
  }

  async generateKey(options: GenerateKeyOptions): Promise<KeyInfo> {
    this.#requireToken(options.token);
    checkWish(this.#terms(), this.#cluster, options);
    const { signal, timeoutMs = keygenMs } = options;
    const deadlineMs = Date.now() + timeoutMs;
    const bus = await this.#ready(options);
    this.#identity.require();
    const late = (): HsmError =>
      new HsmError("ERR_DEADLINE", `no key was made within ${timeoutMs} ms`);
    return await within(this.#findOrMake(bus, options, deadlineMs), {
      // A generation ends by its own deadline, and abandons its key then.
      deadlineMs: deadlineMs + connectMs,
      signal,
      late,
    });
  }

  async destroyKey(keyId: string, options: CallOptions = {}): Promise<DestroyResult> {
    const bus = await this.#current(options);
    const record = bus.keys.record(keyId);
    if (record === undefined || !this.tokens.includes(record.proposal.token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `there is no key ${keyId}`);
    }
    return await destroyKey(bus, this.name, record, options);
  }

  async relabelKey(keyId: string, names: Names, options: CallOptions = {}): Promise<void> {
    const bus = await this.#current(options);
    const record = bus.keys.record(keyId);
    if (record === undefined || !this.tokens.includes(record.proposal.token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `there is no key ${keyId}`);
    }
    if (record.state !== "active") {
      throw new HsmError("ERR_KEY_NOT_ACTIVE", `key ${keyId} is ${record.state}`);
    }
    await relabelKey(bus, this.name, record, names, options);
  }

  async objects(token: string, options: CallOptions = {}): Promise<readonly TokenObject[]> {
    this.#requireToken(token);
    return (await this.#ready(options)).keys.objects.of(token).map(objectOf);
  }

  async storeObject(options: StoreObjectOptions): Promise<TokenObject> {
    this.#requireToken(options.token);
    return await storeObject(await this.#current(options), this.name, options);
  }

  async relabelObject(objectId: string, names: Names, options: CallOptions = {}): Promise<void> {
    const bus = await this.#current(options);
    await relabelObject(bus, this.name, this.#object(bus, objectId), names, options);
  }

  async removeObject(objectId: string, options: CallOptions = {}): Promise<void> {
    const bus = await this.#current(options);
    await removeObject(bus, this.name, this.#object(bus, objectId), options);
  }

  #object(bus: Bus, objectId: string): ObjectStored {
    const object = bus.keys.objects.get(objectId);
    if (object === undefined || !this.tokens.includes(object.token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `there is no object ${objectId}`);
    }
    return object;
  }

  /** Unlocked, and with all in view that is on record. */
  async #current(options: CallOptions): Promise<Bus> {
    const bus = await this.#ready(options);
    this.#identity.require();
    await within(bus.keys.catchUp(), {
      deadlineMs: Date.now() + (options.timeoutMs ?? connectMs),
      signal: options.signal,
      late: silence,
    });
    return bus;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
    this.#closing.abort();
    for (const dealer of this.#prepared.values()) dealer.end();
    // A key under way is abandoned first.
    const generations = Promise.allSettled(this.#generating.values());
    await Promise.race([generations, delay(abandonMs, undefined, { ref: false })]);
    this.#overdue?.close();
    await this.#opening.then(
      (bus) => bus.close(),
      () => undefined,
    );
  }

  async #findOrMake(bus: Bus, options: GenerateKeyOptions, deadlineMs: number): Promise<KeyInfo> {
    await bus.keys.catchUp();
    await this.#overdue?.sweep();
    const operationId = options.operationId ?? randomBytes(16);
    for (let attempt = 1; ; attempt++) {
      const keyId = keyIdOf(this.name, operationId, attempt);
      const underWay = this.#generating.get(keyId);
      if (underWay !== undefined) return await underWay;
      const record = bus.keys.record(keyId);
      if (record?.state === "active") return bus.keys.info(record);
      if (record === undefined) {
        const generation = this.#generate(bus, keyId, options, deadlineMs).finally(() =>
          this.#generating.delete(keyId),
        );
        this.#generating.set(keyId, generation);
        return await generation;
      }
      if (record.state === "proposed") await this.#takeOver(bus, record);
      // It may have become active meanwhile.
      if (bus.keys.record(keyId)?.state === "active") attempt -= 1;
    }
  }

  /**
   * A process of this client has died over it: whoever asks again by the operation's random name has
   * seen it go. Should it live after all, the stream's order decides whose word counts.
   */
  async #takeOver(bus: Bus, record: KeyRecord): Promise<void> {
    const reason = "its dealer died, and the key was asked for again";
    await decide(bus, this.name, record, { type: "abandoned", reason });
    await bus.keys.catchUp();
  }

  async #generate(
    bus: Bus,
    keyId: string,
    options: GenerateKeyOptions,
    deadlineMs: number,
  ): Promise<KeyInfo> {
    const modulusBits = options.modulusBits ?? 2048;
    const prepared = this.#prepared.get(modulusBits);
    this.#prepared.delete(modulusBits);
    const dealer = prepared?.isAlive === true ? prepared : new Dealer(modulusBits);
    const limits = [
      AbortSignal.timeout(Math.max(1, Math.ceil(deadlineMs - Date.now()))),
      this.#closing.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ];
    try {
      const record = await dealKeyOut(
        {
          ...this.#terms(),
          bus,
          cluster: this.#cluster,
          dealer,
          openSession: () => this.#session(bus, options.token, "key generation"),
        },
        keyId,
        options,
        AbortSignal.any(limits),
      );
      return bus.keys.info(record);
    } finally {
      dealer.end();
    }
  }

  #terms(): ProposalTerms {
    const parties = this.#cluster.nodes.length;
    return {
      client: this.name,
      threshold: this.#config.threshold ?? Math.floor(parties / 2) + 1,
      minimum: this.#config.minimumAccepted ?? parties,
      enrollmentMs: this.#config.enrollmentMs,
    };
  }

  #session(bus: Bus, token: string, application: string): Session {
    const { window, batch, timeoutMs } = this.#config;
    const session = new Session(
      {
        bus,
        client: this.name,
        window,
        batch,
        timeoutMs,
        onClosed: () => this.#sessions.delete(session),
      },
      token,
      application,
    );
    this.#sessions.add(session);
    return session;
  }

  async #open(): Promise<Bus> {
    const { signal } = this.#closing;
    const bus = await openBus(this.#config, this.#cluster, this.#identity, this.#log, signal);
    for (let isFirst = true; ; isFirst = false) {
      try {
        const learning = Promise.all([bus.keys.catchUp(), bus.book.load()]);
        await within(learning, { deadlineMs: Infinity, signal, late: silence });
        break;
      } catch (error) {
        if (signal.aborted) {
          await bus.close();
          throw error;
        }
        // The streams may be created, or their leader elected, after we connected.
        if (isFirst) this.#log.warn({ error: describeError(error) }, "cannot read the keys yet");
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
    this.#overdue = new OverdueKeys({
      bus,
      client: this.name,
      tokens: this.tokens,
      isOurs: (keyId) => this.#generating.has(keyId),
    });
    this.#bus = bus;
    return bus;
  }

  async #ready({ signal, timeoutMs = connectMs }: CallOptions): Promise<Bus> {
    if (this.#closing.signal.aborted) throw new HsmError("ERR_ABORTED", "the client is closed");
    return await within(this.#opening, {
      deadlineMs: Date.now() + Math.min(timeoutMs, connectMs),
      signal,
      late: () =>
        new HsmError(
          "ERR_BROKER_UNREACHABLE",
          `NATS does not answer at ${this.#cluster.servers.join(", ")}`,
        ),
    });
  }

  #requireToken(token: string): void {
    if (!this.tokens.includes(token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `client ${this.name} has no token ${token}`);
    }
  }
}

/** Files with a PIN end in a line break, and some programs pass it on (GnuTLS' pin-source). */
function withoutLineBreak(pin: string): string {
  return pin.replace(/\r?\n$/, "");
}

function silence(): HsmError {
  return new HsmError("ERR_BROKER_UNREACHABLE", "NATS does not answer reads");
}
