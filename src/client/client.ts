/** @module The client: connects in the background, and gives every call a deadline. */
import { randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import type { Logger } from "../log.js";
import type {
  CallOptions,
  DestroyResult,
  GenerateKeyOptions,
  HsmClient,
  KeyInfo,
  SigningSession,
} from "./api.js";
import { openBus, type Bus } from "./bus.js";
import type { ClientConfig } from "./config.js";
import { Dealer } from "./dealer.js";
import { destroyKey } from "./destroy.js";
import type { IdentityLock } from "./identity-lock.js";
import { abandon, dealKeyOut, keyIdOf } from "./keygen.js";
import { Session } from "./session.js";

const keygenMs = 1_200_000;
const connectMs = 10_000;

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
  #isClosed = false;
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
    const { connection } = this.#bus ?? {};
    return connection !== undefined && !connection.isClosed() && connection.getServer() !== "";
  }

  get unlocked(): boolean {
    return this.#identity.isOpen;
  }

  unlock(pin: string): Promise<Uint8Array> {
    // Files with a PIN end in a line break, and some programs pass it on (GnuTLS' pin-source).
    return this.#identity.open(pin.replace(/\r?\n$/, ""));
  }

  unlockWithTicket(ticket: Uint8Array): Promise<void> {
    this.#identity.openWithTicket(ticket);
    return Promise.resolve();
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
    if (known?.isAlive === true || this.#isClosed) return;
    this.#prepared.set(modulusBits, new Dealer(modulusBits));
  }

  async generateKey(options: GenerateKeyOptions): Promise<KeyInfo> {
    this.#requireToken(options.token);
    const bus = await this.#ready(options);
    this.#identity.require();
    await bus.keys.catchUp();
    const operationId = options.operationId ?? randomBytes(16);
    for (let attempt = 1; ; attempt++) {
      const keyId = keyIdOf(this.name, operationId, attempt);
      const underWay = this.#generating.get(keyId);
      if (underWay !== undefined) return await underWay;
      const record = bus.keys.record(keyId);
      if (record?.state === "active") return bus.keys.info(record);
      if (record?.state === "proposed") {
        // Its dealer died with an earlier process of this client: the share texts are lost.
        const reason = "the dealing process ended before activation";
        await abandon({ bus, client: this.name }, keyId, record.proposalHash, reason);
      }
      if (record === undefined) {
        const generation = this.#generate(bus, keyId, options);
        this.#generating.set(keyId, generation);
        return await generation.finally(() => this.#generating.delete(keyId));
      }
    }
  }

  async destroyKey(keyId: string, options: CallOptions = {}): Promise<DestroyResult> {
    const bus = await this.#ready(options);
    this.#identity.require();
    await bus.keys.catchUp();
    const record = bus.keys.record(keyId);
    if (record === undefined || !this.tokens.includes(record.proposal.token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `there is no key ${keyId}`);
    }
    return await destroyKey(bus, this.name, record, options);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const dealer of this.#prepared.values()) dealer.end();
    await this.#bus?.close();
  }

  async #generate(bus: Bus, keyId: string, options: GenerateKeyOptions): Promise<KeyInfo> {
    const modulusBits = options.modulusBits ?? 2048;
    const parties = this.#cluster.nodes.length;
    const prepared = this.#prepared.get(modulusBits);
    this.#prepared.delete(modulusBits);
    const dealer = prepared?.isAlive === true ? prepared : new Dealer(modulusBits);
    const limit = AbortSignal.timeout(options.timeoutMs ?? keygenMs);
    const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
    try {
      const record = await dealKeyOut(
        {
          bus,
          cluster: this.#cluster,
          client: this.name,
          threshold: this.#config.threshold ?? Math.floor(parties / 2) + 1,
          minimum: this.#config.minimumAccepted ?? parties,
          dealer,
          openSession: () => this.#session(bus, options.token, "key generation"),
        },
        keyId,
        options,
        signal,
      );
      return bus.keys.info(record);
    } finally {
      dealer.end();
    }
  }

  #session(bus: Bus, token: string, application: string): Session {
    const { window, batch, timeoutMs } = this.#config;
    return new Session({ bus, client: this.name, window, batch, timeoutMs }, token, application);
  }

  async #open(): Promise<Bus> {
    const bus = await openBus(this.#config, this.#cluster, this.#identity, this.#log);
    if (this.#isClosed) {
      await bus.close();
      throw new HsmError("ERR_ABORTED", "the client was closed");
    }
    for (;;) {
      try {
        await bus.keys.catchUp();
        break;
      } catch (error) {
        // The streams may be created, or their leader elected, after we connected.
        if (this.#isClosed) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
    this.#bus = bus;
    return bus;
  }

  async #ready({ signal, timeoutMs = connectMs }: CallOptions): Promise<Bus> {
    if (this.#isClosed) throw new HsmError("ERR_ABORTED", "the client is closed");
    const limit = AbortSignal.timeout(Math.min(timeoutMs, connectMs));
    const either = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    return await new Promise((resolve, reject) => {
      const giveUp = (): void => {
        reject(
          signal?.aborted === true
            ? new HsmError("ERR_ABORTED", "the caller gave up")
            : new HsmError(
                "ERR_BROKER_UNREACHABLE",
                `NATS does not answer at ${this.#cluster.servers.join(", ")}`,
              ),
        );
      };
      if (either.aborted) giveUp();
      either.addEventListener("abort", giveUp, { once: true });
      this.#opening.then(resolve, reject).finally(() => {
        either.removeEventListener("abort", giveUp);
      });
    });
  }

  #requireToken(token: string): void {
    if (!this.tokens.includes(token)) {
      throw new HsmError("ERR_UNKNOWN_KEY", `client ${this.name} has no token ${token}`);
    }
  }
}
