/**
 * @module The other side of a node: a client and dealer, no cleverer than a test needs.
 */
import { createHash, randomBytes } from "node:crypto";
import type { NatsConnection } from "nats";
import type { Cluster } from "../../src/identity/cluster.js";
import { toBase64url, toHex } from "../../src/identity/encoding.js";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { groupKeyBytes, serializeKeyShare } from "../../src/scheme/index.js";
import { signMessage, type SignedMessage, type StoredMessage } from "../../src/streams/envelope.js";
import type { KeyEvent, KeyProposed, KeyReady } from "../../src/streams/keys.js";
import { readKeyEvent, readShare, verifySender } from "../../src/streams/open.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import type { SignRequest } from "../../src/streams/requests.js";
import { sealShare } from "../../src/streams/sealing.js";
import type { ShareMessage } from "../../src/streams/shares.js";
import {
  allKeys,
  formatSubject,
  streamNames,
  type StreamName,
} from "../../src/streams/subjects.js";
import type { TestKey } from "../support/keys.js";
import { eventually } from "./eventually.js";

export const randomId = (): string => toBase64url(randomBytes(16));
export const timeFromNow = (ms = 0): string => new Date(Date.now() + ms).toISOString();

export interface ProposedKey {
  readonly id: string;
  readonly proposal: string;
  readonly key: TestKey;
  readonly record: KeyProposed;
}

export interface Answered {
  readonly message: StoredMessage;
  readonly share: ShareMessage;
}

/** A node that only says that it accepts. */
export interface StandIn {
  readonly name: string;
  readonly connection: NatsConnection;
  readonly key: IdentityKey;
}

export class FakeClient {
  readonly name: string;
  readonly session: string = randomId();
  readonly reader: StreamReader;
  readonly publisher: Publisher;
  readonly #key: IdentityKey;
  readonly #cluster: Cluster;
  readonly #standIn: StandIn;
  #seq = 0;

  constructor(
    name: string,
    connection: NatsConnection,
    key: IdentityKey,
    cluster: Cluster,
    standIn: StandIn,
  ) {
    this.name = name;
    this.#key = key;
    this.#cluster = cluster;
    this.#standIn = standIn;
    this.reader = new StreamReader(connection);
    this.publisher = new Publisher(connection, this.reader, name);
  }

  async say(stream: StreamName, subject: string, body: object): Promise<SignedMessage> {
    const message = signMessage(this.#key, stream, subject, body);
    await this.publisher.publish(message);
    return message;
  }

  /** Proposes a key; `changes` make the record wrong in some way. */
  async propose(key: TestKey, changes: Partial<KeyProposed> = {}): Promise<ProposedKey> {
    const id = randomBytes(16).toString("hex");
    const group = groupKeyBytes(key.group);
    const record: KeyProposed = {
      version: 1,
      type: "proposed",
      key: id,
      epoch: 0,
      client: this.name,
      token: "zones",
      label: "test",
      id: "01",
      algorithm: "rsa",
      scheme: "shoup",
      modulus: toBase64url(group.modulus),
      publicExponent: toBase64url(group.publicExponent),
      threshold: group.threshold,
      parties: ["n1", "n2", "n3"],
      minimum: 3,
      verificationBase: toBase64url(group.verificationBase),
      verificationKeys: group.verificationKeys.map((one) => toBase64url(one)),
      encodings: ["pkcs1v15", "pss"],
      hashes: ["sha256", "sha512"],
      maxInputs: 64,
      proofs: "on-failure",
      time: timeFromNow(),
      ...changes,
    };
    const message = await this.say(streamNames.keys, keySubject(id), record);
    return { id, proposal: message.hash, key, record };
  }

  /** Seals party's share to its node's one-time key; `changes` make the dealing wrong. */
  async deal(
    { id, proposal, key }: ProposedKey,
    ready: KeyReady,
    changes: { party?: number; plain?: Uint8Array; client?: string; proposal?: string } = {},
  ): Promise<void> {
    const share = key.shares[ready.party - 1];
    if (share === undefined) throw new Error(`no party ${ready.party}`);
    const sealed = await sealShare(
      {
        key: id,
        epoch: 0,
        client: changes.client ?? this.name,
        node: ready.node,
        party: changes.party ?? ready.party,
        proposal: changes.proposal ?? proposal,
        sealingKey: ready.sealingKey,
      },
      changes.plain ?? serializeKeyShare(share, key.group),
    );
    const subject = formatSubject({ kind: "deal", node: ready.node, key: id });
    await this.say(streamNames.deals, subject, sealed);
  }

  async decide(
    type: "activated" | "abandoned" | "destroyed",
    { id, proposal }: Pick<ProposedKey, "id" | "proposal">,
    accepted: readonly number[] = [1, 2, 3],
  ): Promise<void> {
    const more = {
      activated: { accepted, session: this.session, rid: randomId() },
      abandoned: { reason: "test" },
      destroyed: {},
    }[type];
    const head = { version: 1, type, key: id, client: this.name, proposal };
    const body = { ...head, ...more, time: timeFromNow() };
    await this.say(streamNames.keys, keySubject(id), body);
  }

  /** The whole way to a key that the given nodes can sign with; n3 may be one in name only. */
  async establish(
    key: TestKey,
    nodes: readonly string[],
    changes: Partial<KeyProposed> = {},
  ): Promise<ProposedKey> {
    const proposed = await this.propose(key, { minimum: 2, ...changes });
    for (const node of nodes) {
      await this.deal(proposed, await this.event(proposed.id, node, "ready"));
    }
    for (const node of nodes) await this.event(proposed.id, node, "accepted");
    const accepted = nodes.map((node) => proposed.record.parties.indexOf(node) + 1);
    if (accepted.length < 2) {
      await this.letN3Accept(proposed);
      accepted.push(3);
    }
    await this.decide("activated", proposed, accepted);
    return proposed;
  }

  /** n3, party 3, says that it accepts. */
  async letN3Accept({ id, proposal }: ProposedKey): Promise<void> {
    const node = this.#standIn;
    const message = signMessage(node.key, streamNames.keys, keySubject(id), {
      version: 1,
      type: "accepted",
      key: id,
      node: node.name,
      party: 3,
      proposal,
      time: timeFromNow(),
      n: 1,
      prev: "0".repeat(64),
    });
    await new Publisher(node.connection, this.reader, node.name).publish(message);
  }

  /** All verified events of a key. */
  async events(id: string): Promise<KeyEvent[]> {
    const last = await this.reader.lastSeq(streamNames.keys, allKeys);
    const found: KeyEvent[] = [];
    for await (const entry of this.reader.replay(streamNames.keys, 1, last)) {
      if (!("message" in entry) || entry.message.subject !== keySubject(id)) continue;
      const event = readKeyEvent(entry.message);
      if (event === undefined) continue;
      verifySender(this.#cluster, entry.message, event, "node" in event ? "node" : "client");
      found.push(event);
    }
    return found;
  }

  /** A node's event about a key, the `count`-th of its type. */
  async event<T extends Extract<KeyEvent, { node: string }>["type"]>(
    id: string,
    node: string,
    type: T,
    count = 1,
  ): Promise<Extract<KeyEvent, { type: T }>> {
    return await eventually(`${type} by ${node}`, async () => {
      const all = (await this.events(id)).filter(
        (event): event is Extract<KeyEvent, { type: T }> =>
          event.type === type && "node" in event && event.node === node,
      );
      return all[count - 1];
    });
  }

  request(key: string, changes: Partial<SignRequest> = {}): SignRequest {
    return {
      version: 1,
      kind: "sign",
      client: this.name,
      session: this.session,
      seq: ++this.#seq,
      rid: randomId(),
      key,
      epoch: 0,
      algorithm: "rsa",
      scheme: "shoup",
      parties: [1, 2, 3],
      encoding: "pkcs1v15",
      hash: "sha256",
      inputs: [digest(`input ${this.#seq}`)],
      expires: timeFromNow(15_000),
      attempt: 1,
      ...changes,
    };
  }

  signed(request: SignRequest): SignedMessage {
    const { session, rid } = request;
    const subject = formatSubject({ kind: "request", client: this.name, session, rid });
    return signMessage(this.#key, streamNames.requests, subject, request);
  }

  async send(request: SignRequest): Promise<SignedMessage> {
    const message = this.signed(request);
    await this.publisher.publish(message);
    return message;
  }

  /** The newest answer of a node to a request, verified; undefined when there is none. */
  async answerOf(node: string, { session, rid }: SignRequest): Promise<Answered | undefined> {
    const subject = formatSubject({ kind: "share", node, client: this.name, session, rid });
    const message = await this.reader.last(streamNames.shares, subject);
    if (message === undefined) return undefined;
    const share = readShare(message);
    verifySender(this.#cluster, message, share, "node");
    return { message, share };
  }

  async ask(
    key: string,
    changes: Partial<SignRequest> = {},
    node = "n1",
  ): Promise<Answered & { request: SignRequest }> {
    const request = this.request(key, changes);
    await this.send(request);
    const answer = await eventually("an answer", () => this.answerOf(node, request));
    return { ...answer, request };
  }

  close(): void {
    this.publisher.close();
  }
}

export function keySubject(key: string): string {
  return formatSubject({ kind: "key", key });
}

export function digest(text: string): string {
  return toHex(createHash("sha256").update(text).digest());
}
