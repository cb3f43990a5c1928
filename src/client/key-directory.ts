/** @module The keys of this client's tokens: the replay of THSM_KEY, kept up to date. */
import { once, EventEmitter } from "node:events";
import type { NatsConnection } from "nats";
import { HsmError } from "../errors.js";
import type { Cluster } from "../identity/cluster.js";
import { fromBase64url, fromHex } from "../identity/encoding.js";
import type { Logger } from "../log.js";
import { parseGroupKey, type GroupKey } from "../scheme/index.js";
import type { SignedMessage, StoredMessage } from "../streams/envelope.js";
import { StreamFollower } from "../streams/follow.js";
import type { KeyRecord } from "../streams/key-life.js";
import { KeyLives } from "../streams/key-lives.js";
import type { KeyProposed } from "../streams/keys.js";
import { readObjectEvent, verifySender } from "../streams/open.js";
import type { StreamReader } from "../streams/read.js";
import { allKeys, parseSubject, streamNames } from "../streams/subjects.js";
import { TokenObjects } from "../streams/token-objects.js";
import { encodings, hashes, type KeyInfo, type RateLimit } from "./api.js";

export class KeyDirectory {
  readonly #cluster: Cluster;
  readonly #lives: KeyLives;
  readonly #follower: StreamFollower;
  readonly #groups = new Map<string, GroupKey>();
  readonly #infos = new WeakMap<KeyRecord, KeyInfo>();
  readonly #changes = new EventEmitter();
  /** Where the stream has what a party's guilt stands on: `key` and `key party`. */
  readonly #places = new Map<string, number>();
  readonly #reader: StreamReader;
  #revision = 0;

  constructor(cluster: Cluster, connection: NatsConnection, reader: StreamReader, log: Logger) {
    this.#cluster = cluster;
    this.#lives = new KeyLives(cluster);
    this.#reader = reader;
    this.objects = new TokenObjects(cluster);
    this.#changes.setMaxListeners(0);
    this.#follower = new StreamFollower({
      connection,
      reader,
      stream: streamNames.keys,
      filter: allKeys,
      log,
      apply: (message) => {
        if (!this.#take(message)) {
          log.warn({ seq: message.seq }, "key event of an unknown type skipped");
          return;
        }
        this.#revision += 1;
        this.#changes.emit("change");
      },
    });
  }

  /** Certificates and data. */
  readonly objects: TokenObjects;

  /** False for an event of a type that this version does not know. */
  #take(message: StoredMessage): boolean {
    if (parseSubject(message.subject).kind !== "object") return this.#takeKeyEvent(message);
    const event = readObjectEvent(message);
    if (event === undefined) return false;
    verifySender(this.#cluster, message, event, "client");
    this.objects.take(event);
    return true;
  }

  #takeKeyEvent(message: StoredMessage): boolean {
    const event = this.#lives.apply(message)?.event;
    if (event?.type === "proposed") this.#places.set(event.key, message.seq);
    if (event?.type === "accepted") this.#places.set(`${event.key} ${event.party}`, message.seq);
    return event !== undefined;
  }

  /** Grows with every event; equal numbers mean an unchanged directory. */
  get revision(): number {
    return this.#revision;
  }

  /** @throws HsmError `ERR_BROKER_UNREACHABLE` */
  catchUp(): Promise<void> {
    return this.#follower.catchUp();
  }

  /** Every record, in order of proposal. */
  all(): Iterable<KeyRecord> {
    return this.#lives.all();
  }

  record(keyId: string): KeyRecord | undefined {
    return this.#lives.get(keyId);
  }

  /**
   * The record of an active key of this token; reads the stream once more before it says no.
   * @throws HsmError `ERR_UNKNOWN_KEY`, `ERR_KEY_NOT_ACTIVE`
   */
  async activeRecord(keyId: string, token: string): Promise<KeyRecord> {
    if (this.record(keyId)?.state !== "active") await this.catchUp();
    const record = this.record(keyId);
    if (record?.proposal.token !== token) {
      throw new HsmError("ERR_UNKNOWN_KEY", `token ${token} has no key ${keyId}`);
    }
    if (record.state !== "active") {
      throw new HsmError("ERR_KEY_NOT_ACTIVE", `key ${keyId} is ${record.state}`);
    }
    return record;
  }

  /**
   * The messages that a party's duty stands on: the key as proposed, and as it accepted it.
   * @throws HsmError `ERR_BROKER_UNREACHABLE`
   */
  async charter(keyId: string, party: number): Promise<SignedMessage[]> {
    const places = [keyId, `${keyId} ${party}`].flatMap((name) => this.#places.get(name) ?? []);
    const entries = await Promise.all(places.map((seq) => this.#reader.at(streamNames.keys, seq)));
    return entries.flatMap((one) => (one !== undefined && "message" in one ? [one.message] : []));
  }

  /** Active keys of a token, in order of proposal. */
  active(token: string): KeyInfo[] {
    const infos: KeyInfo[] = [];
    for (const record of this.#lives.all()) {
      if (record.state === "active" && record.proposal.token === token)
        infos.push(this.info(record));
    }
    return infos;
  }

  /**
   * The checked public key of a record.
   * @throws HsmError `ERR_INVALID_KEY_SHARE` when its numbers are not those of a group key
   */
  group(record: KeyRecord): GroupKey {
    const known = this.#groups.get(record.keyId);
    if (known !== undefined) return known;
    const { proposal } = record;
    const group = parseGroupKey({
      modulus: fromBase64url(proposal.modulus, "modulus"),
      publicExponent: fromBase64url(proposal.publicExponent, "publicExponent"),
      threshold: proposal.threshold,
      parties: proposal.parties.length,
      verificationBase: fromBase64url(proposal.verificationBase, "verificationBase"),
      verificationKeys: proposal.verificationKeys.map((text) =>
        fromBase64url(text, "verificationKeys"),
      ),
    });
    this.#groups.set(record.keyId, group);
    return group;
  }

  info(record: KeyRecord): KeyInfo {
    const known = this.#infos.get(record);
    if (known !== undefined) return known;
    const { proposal, state } = record;
    const modulus = fromBase64url(proposal.modulus, "modulus");
    const info: KeyInfo = {
      keyId: record.keyId,
      token: proposal.token,
      label: record.label,
      id: fromHex(record.id, "id"),
      algorithm: "rsa",
      modulusBits: modulus.length * 8,
      modulus,
      publicExponent: fromBase64url(proposal.publicExponent, "publicExponent"),
      threshold: proposal.threshold,
      parties: proposal.parties,
      policy: {
        encodings: encodings.filter((name) => proposal.encodings.includes(name)),
        hashes: hashes.filter((name) => proposal.hashes.includes(name)),
        maxInputs: proposal.maxInputs,
        proofs: proposal.proofs,
        ...(proposal.clients === undefined ? {} : { clients: proposal.clients }),
        ...rateOf(proposal),
      },
      state,
      createdAt: proposal.time,
    };
    this.#infos.set(record, info);
    return info;
  }

  /**
   * Resolves when `test` returns something for the record, looking again after every event.
   * @throws HsmError `ERR_DEADLINE`, `ERR_ABORTED`; whatever `test` throws
   */
  async until<T>(
    keyId: string,
    test: (record: KeyRecord | undefined) => T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    for (;;) {
      const found = test(this.#lives.get(keyId));
      if (found !== undefined) return found;
      try {
        await once(this.#changes, "change", { signal });
      } catch (cause) {
        const isTimeout =
          signal.reason instanceof DOMException && signal.reason.name === "TimeoutError";
        throw isTimeout
          ? new HsmError("ERR_DEADLINE", "the nodes did not answer in time", { cause })
          : new HsmError("ERR_ABORTED", "the caller gave up", { cause });
      }
    }
  }

  close(): void {
    this.#follower.close();
  }
}

function rateOf({ rateLimit, ratePeriodSeconds }: KeyProposed): { rate?: RateLimit } {
  return rateLimit === undefined || ratePeriodSeconds === undefined
    ? {}
    : { rate: { signatures: rateLimit, perSeconds: ratePeriodSeconds } };
}
