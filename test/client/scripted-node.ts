/**
 * @module Nodes inside the test process, made of src/streams and the scheme, on real connections
 * with their own logins. What they do with a request is the test's to say.
 */
import { randomBytes } from "node:crypto";
import { expect } from "chai";
import type { NatsConnection } from "nats";
import { fromBase64url, fromHex, toBase64url } from "../../src/identity/encoding.js";
import { silentLogger } from "../../src/log.js";
import {
  encodeMessage,
  type GroupKey,
  groupKeyBytes,
  parseGroupKey,
  parseKeyShare,
  ShareSigner,
} from "../../src/scheme/index.js";
import { consume } from "../../src/streams/consume.js";
import { messageHeaders, signMessage, type SignedMessage } from "../../src/streams/envelope.js";
import { StreamFollower } from "../../src/streams/follow.js";
import type { KeyRecord } from "../../src/streams/key-life.js";
import { KeyLives } from "../../src/streams/key-lives.js";
import { readRequest, readSealedShare } from "../../src/streams/open.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import type { SignRequest } from "../../src/streams/requests.js";
import { createSealingKey, type SealingKey } from "../../src/streams/sealing.js";
import { nodeConsumer } from "../../src/streams/settings.js";
import { allKeys, formatSubject, streamNames } from "../../src/streams/subjects.js";
import type { TestCluster } from "../support/cluster.js";
import { testKey, type TestKey } from "../support/keys.js";

export const dealt: TestKey = testKey(1024, 5, 3);
const chain = { n: 1, prev: "0".repeat(64) };
const head = { version: 1, epoch: 0 };
const now = (): string => new Date().toISOString();

/** What a node does with a request. */
export type Behaviour =
  | "sign"
  | "silent"
  /** Answers right, but the client's subscription does not hear it in time. */
  | { readonly delayMs: number }
  | { readonly refuse: string }
  /** Changes the shares before they are sent. */
  | { readonly lie: (shares: string[], request: SignRequest) => string[] }
  /** Changes the whole answer. */
  | { readonly forge: (body: object, request: SignRequest) => object };

/** How a node behaves while a key is dealt. */
export type DealingBehaviour = "accept" | "silent" | "reject" | "useless-key" | "repeat-ready";

export class ScriptedNode {
  readonly name: string;
  readonly party: number;
  readonly #cluster: TestCluster;
  readonly #stop = new AbortController();
  readonly #sealing = new Map<string, SealingKey>();
  readonly #lives: KeyLives;
  /** Keys that were really dealt; all others are `dealt`. */
  readonly #signers = new Map<string, { group: GroupKey; signer: ShareSigner }>();
  readonly #seen = new Set<string>();
  behaviour: Behaviour = "sign";
  dealing: DealingBehaviour = "accept";
  /** Requests that named this party. */
  readonly asked: SignRequest[] = [];
  publisher!: Publisher;
  #follower!: StreamFollower;
  #connection: NatsConnection | undefined;
  /** Attaches a share proof to each share. */
  proves = false;
  /** Its answers reach the client, and the stream refuses them. */
  isPastStream = false;
  readonly withheld: SignedMessage[] = [];
  #chain: { n: number; prev: string } = { n: 100, prev: chain.prev };
  #beat = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: TestCluster, party: number) {
    this.#cluster = cluster;
    this.party = party;
    this.name = `n${party}`;
    this.#lives = new KeyLives(cluster.cluster);
  }

  async start(): Promise<this> {
    const connection = await this.#cluster.connect(this.name);
    this.#connection = connection;
    const reader = new StreamReader(connection);
    this.publisher = new Publisher(connection, reader, this.name);
    const common = { connection, consumer: nodeConsumer(this.name), log: silentLogger };
    const { signal } = this.#stop;
    void consume({
      ...common,
      stream: streamNames.requests,
      signal,
      ignore: (_, junk) => junk.ack(),
      handle: ({ message, ack }) => {
        ack();
        if (this.#seen.has(message.hash)) return;
        this.#seen.add(message.hash);
        const request = readRequest(message);
        if (!request.parties.includes(this.party)) return;
        this.asked.push(request);
        this.#answer(request, message.hash, message.seq).catch(() => undefined);
      },
    });
    void consume({
      ...common,
      stream: streamNames.deals,
      signal,
      ignore: (_, junk) => junk.ack(),
      handle: ({ message, ack }) => {
        ack();
        void this.#open(readSealedShare(message));
      },
    });
    this.#follower = new StreamFollower({
      connection,
      reader,
      stream: streamNames.keys,
      filter: allKeys,
      log: silentLogger,
      apply: (message) => {
        const change = this.#lives.apply(message);
        if (change !== undefined) void this.#onKey(change.event.type, change.record);
      },
    });
    this.#timer = setInterval(() => this.beat(), 500);
    this.#timer.unref();
    return this;
  }

  /** A heartbeat, as a real node sends each second. */
  beat(): void {
    // A cluster whose start failed goes without stopping its nodes.
    if (this.#connection?.isClosed() !== false) return;
    const body = {
      version: 1,
      node: this.name,
      boot: "b".repeat(22),
      beat: ++this.#beat,
      queued: 0,
      activeKeys: 1,
      time: now(),
    };
    const subject = formatSubject({ kind: "beat", node: this.name });
    const message = signMessage(this.#cluster.key(this.name), "", subject, body);
    this.#connection.publish(message.subject, message.payload, {
      headers: messageHeaders(message),
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stop.abort();
    this.#follower.close();
    this.publisher.close();
  }

  async #answer(request: SignRequest, hash: string, reqSeq: number): Promise<void> {
    const { behaviour } = this;
    if (behaviour === "silent") return;
    if (typeof behaviour === "object" && "delayMs" in behaviour) {
      await new Promise((resolve) => setTimeout(resolve, behaviour.delayMs));
    }
    const { client, session, rid, key } = request;
    const common = {
      ...head,
      n: this.#chain.n + 1,
      prev: this.#chain.prev,
      node: this.name,
      party: this.party,
      client,
      session,
      rid,
      key,
      request: hash,
      reqSeq,
      time: now(),
    };
    let body: object;
    if (typeof behaviour === "object" && "refuse" in behaviour) {
      body = { ...common, kind: "refusal", code: behaviour.refuse, reason: "the test says no" };
    } else {
      const shares = sharesOf(this.party, request, this.#signers.get(key));
      const isLie = typeof behaviour === "object" && "lie" in behaviour;
      const isProven = request.kind === "explain" || this.proves;
      body = {
        ...common,
        kind: request.kind === "explain" ? "explanation" : "shares",
        shares: isLie ? behaviour.lie(shares, request) : shares,
        ...(isProven ? { proofs: proofsOf(this.party, request) } : {}),
      };
    }
    if (typeof behaviour === "object" && "forge" in behaviour) {
      body = behaviour.forge(body, request);
    }
    const subject = formatSubject({ kind: "share", node: this.name, client, session, rid });
    const message = signMessage(this.#cluster.key(this.name), streamNames.shares, subject, body);
    this.#chain = { n: common.n, prev: message.hash };
    if (!this.isPastStream) await this.publisher.publish(message);
    else {
      const h = messageHeaders(message);
      h.set("Nats-Expected-Last-Sequence", "4000000000");
      this.#connection?.publish(subject, message.payload, { headers: h });
      this.withheld.push(message);
    }
  }

  async #onKey(type: string, record: KeyRecord): Promise<void> {
    if (this.dealing === "silent") return;
    if (type === "proposed") {
      if (this.dealing === "reject") {
        const why = { code: "ERR_INTERNAL", reason: "no room" };
        await this.#say(record.keyId, record.proposalHash, "rejected", why);
        return;
      }
      await this.#sayReady(record.keyId, record.proposalHash);
    }
    if (type === "destroyed" || type === "abandoned") {
      await this.#say(record.keyId, record.proposalHash, "erased");
    }
  }

  async #sayReady(key: string, hash: string): Promise<void> {
    const sealing = await createSealingKey();
    this.#sealing.set(sealing.publicKey, sealing);
    const sealingKey = this.dealing === "useless-key" ? "A".repeat(43) : sealing.publicKey;
    await this.#say(key, hash, "ready", { sealingKey });
  }

  async #open(sealed: ReturnType<typeof readSealedShare>): Promise<void> {
    const bytes = await this.#sealing.get(sealed.sealingKey)?.open(sealed);
    const record = this.#lives.get(sealed.key);
    if (bytes === undefined || record === undefined) return;
    const group = groupOf(record);
    const share = parseKeyShare(bytes, group);
    expect(share.index).to.equal(this.party);
    this.#signers.set(sealed.key, { group, signer: new ShareSigner(group, share) });
    await this.#say(sealed.key, sealed.proposal, "accepted");
    if (this.dealing === "repeat-ready") await this.#sayReady(sealed.key, sealed.proposal);
  }

  async #say(key: string, hash: string, type: string, more: object = {}): Promise<void> {
    const { name: node, party } = this;
    const body = {
      version: 1,
      type,
      key,
      node,
      party,
      proposal: hash,
      ...more,
      time: now(),
      ...chain,
    };
    const subject = formatSubject({ kind: "key", key });
    const message = signMessage(this.#cluster.key(node), streamNames.keys, subject, body);
    await this.publisher.publish(message).catch(() => undefined);
  }
}

/** The right shares of a party. */
export function sharesOf(
  party: number,
  request: SignRequest,
  known?: { group: GroupKey; signer: ShareSigner },
): string[] {
  const share = dealt.shares[party - 1];
  if (share === undefined) throw new RangeError(`no party ${party}`);
  const { group, signer } = known ?? {
    group: dealt.group,
    signer: new ShareSigner(dealt.group, share),
  };
  const { encoding, hash, inputs, salts } = request;
  return inputs.map((input, index) => {
    const salt = salts?.[index];
    const encoded = encodeMessage(group, {
      encoding: encoding as "pkcs1v15",
      ...(hash === undefined ? {} : { hash: hash as "sha256" }),
      data: fromHex(input, "input"),
      ...(salt === undefined ? {} : { salt: fromHex(salt, "salt") }),
    });
    return toBase64url(signer.sign(encoded));
  });
}

/** The right share proofs of a party, for the test key. */
export function proofsOf(party: number, request: SignRequest): string[] {
  const share = dealt.shares[party - 1];
  if (share === undefined) throw new RangeError(`no party ${party}`);
  const signer = new ShareSigner(dealt.group, share);
  const context = { keyId: request.key, epoch: request.epoch };
  return request.inputs.map((input) => {
    const data = fromHex(input, "input");
    const encoded = encodeMessage(dealt.group, { encoding: "pkcs1v15", hash: "sha256", data });
    return toBase64url(signer.prove(encoded, context));
  });
}

/** Changes the last bit of each share. */
export const spoil = (shares: readonly string[]): string[] =>
  shares.map((text) => {
    const bytes = fromBase64url(text, "share");
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    return toBase64url(bytes);
  });

/** The public record of the test key, as a dealer proposes it. */
export function proposal(
  key: string,
  client: string,
  token: string,
  minimum = 5,
  proofs = "on-failure",
  encodings: readonly string[] = ["pkcs1v15", "pss"],
): object {
  const group = groupKeyBytes(dealt.group);
  return {
    ...head,
    type: "proposed",
    key,
    client,
    token,
    label: "test",
    id: "01",
    algorithm: "rsa",
    scheme: "shoup",
    modulus: toBase64url(group.modulus),
    publicExponent: toBase64url(group.publicExponent),
    threshold: group.threshold,
    parties: ["n1", "n2", "n3", "n4", "n5"],
    minimum,
    verificationBase: toBase64url(group.verificationBase),
    verificationKeys: group.verificationKeys.map(toBase64url),
    encodings,
    hashes: ["sha256"],
    maxInputs: 64,
    proofs,
    time: now(),
  };
}

/** Puts an active key on record as if it had been dealt; returns its id. */
export async function activeKey(
  cluster: TestCluster,
  proofs?: string,
  encodings?: readonly string[],
): Promise<string> {
  const connection = await cluster.connect("alice");
  const publisher = new Publisher(connection, new StreamReader(connection), "alice");
  const key = randomBytes(16).toString("hex");
  const subject = formatSubject({ kind: "key", key });
  const say = async (who: string, body: object): Promise<string> => {
    const message = signMessage(cluster.key(who), streamNames.keys, subject, body);
    await publisher.publish(message);
    return message.hash;
  };
  const hash = await say("alice", proposal(key, "alice", "zones", 5, proofs, encodings));
  const common = { version: 1, key, proposal: hash, time: now() };
  const accepted = [1, 2, 3, 4, 5];
  for (const party of accepted) {
    const node = `n${party}`;
    await say(node, { ...common, type: "accepted", node, party, ...chain });
  }
  const session = "s".repeat(22);
  const more = { client: "alice", accepted, session, rid: session };
  await say("alice", { ...common, type: "activated", ...more });
  publisher.close();
  return key;
}

function groupOf({ proposal: { modulus, ...rest } }: KeyRecord): GroupKey {
  return parseGroupKey({
    modulus: fromBase64url(modulus, "modulus"),
    publicExponent: fromBase64url(rest.publicExponent, "publicExponent"),
    threshold: rest.threshold,
    parties: rest.parties.length,
    verificationBase: fromBase64url(rest.verificationBase, "verificationBase"),
    verificationKeys: rest.verificationKeys.map((text) => fromBase64url(text, "verificationKeys")),
  });
}
