/**
 * @module A genuine history for tests: real identities, real keys, real shares and chains, written the
 * way that clients and nodes write it. Deterministic up to the dealt key's primes, which are fixed.
 */
import { createHash } from "node:crypto";
import { Cluster } from "../../../src/identity/cluster.js";
import { IdentityKey } from "../../../src/identity/identity-key.js";
import { toBase64url, toHex } from "../../../src/identity/encoding.js";
import type { KeptStream } from "../../../src/client/audit/sources.js";
import {
  combine,
  encodeMessage,
  groupKeyBytes,
  parseSignatureShare,
  ShareSigner,
} from "../../../src/scheme/index.js";
import { chainStart, signMessage, type SignedMessage } from "../../../src/streams/envelope.js";
import type { SignRequest } from "../../../src/streams/requests.js";
import type { ShareMessage } from "../../../src/streams/shares.js";
import { formatSubject, type StreamName, type Subject } from "../../../src/streams/subjects.js";
import { testKey, type TestKey } from "../../support/keys.js";

/** A message as a stream holds it, for tests to spoil. */
export interface Stored {
  seq: number;
  time: string;
  subject: string;
  payload: Uint8Array;
  signature: string;
}

export type Streams = Record<KeptStream, Stored[]>;

export interface Session {
  readonly client: string;
  readonly id: string;
  readonly token: string;
  requests: number;
}

/** A request together with where it is stored. */
export interface Asked {
  readonly body: SignRequest;
  readonly seq: number;
  readonly hash: string;
}

export interface HistoryOptions {
  readonly modulusBits?: number;
  readonly parties?: number;
  readonly threshold?: number;
}

const start = Date.parse("2026-03-01T12:00:00.000Z");

/** Writes a history step by step; every step may be overridden to be wrong. */
export class HistoryBuilder {
  readonly streams: Streams = { THSM_KEY: [], THSM_REQ: [], THSM_SHARE: [], THSM_AUDIT: [] };
  readonly cluster: Cluster;
  readonly nodes: readonly string[];
  readonly key = "0123456789abcdef0123456789abcdef";
  readonly #identities = new Map<string, IdentityKey>();
  readonly #dealt: TestKey;
  readonly #signers: readonly ShareSigner[];
  readonly #chains = new Map<string, { n: number; prev: string }>();
  readonly #ends: Record<KeptStream, number> = {
    THSM_KEY: 0,
    THSM_REQ: 0,
    THSM_SHARE: 0,
    THSM_AUDIT: 0,
  };
  #ids = 0;
  #now = start;
  #proposal = "";

  constructor({ modulusBits = 1024, parties = 3, threshold = 2 }: HistoryOptions = {}) {
    this.nodes = ["ada", "bob", "cyd", "dan", "eve", "fay"].slice(0, parties);
    this.cluster = new Cluster(this.clusterFile(), "/");
    this.#dealt = testKey(modulusBits, parties, threshold);
    this.#signers = this.#dealt.shares.map((share) => new ShareSigner(this.#dealt.group, share));
  }

  /** A clock that moves on with every message. */
  time(aheadMs = 0): string {
    return new Date(this.#now + aheadMs).toISOString();
  }

  id(): string {
    return createHash("sha256")
      .update(`id ${++this.#ids}`)
      .digest()
      .subarray(0, 16)
      .toString("base64url");
  }

  digest(text: string): string {
    return createHash("sha256").update(text).digest("hex");
  }

  /** Signs and stores. */
  store(
    author: string,
    stream: KeptStream,
    subject: Subject,
    body: object,
  ): SignedMessage & { seq: number } {
    const message = this.sign(author, stream, subject, body);
    return { ...message, seq: this.put(stream, message) };
  }

  sign(author: string, stream: StreamName, subject: Subject, body: object): SignedMessage {
    return signMessage(this.identity(author), stream, formatSubject(subject), body);
  }

  put(stream: KeptStream, { subject, payload, signature }: SignedMessage): number {
    this.#now += 10;
    const seq = ++this.#ends[stream];
    this.keep(stream, { seq, time: this.time(), subject, payload, signature });
    return seq;
  }

  keep(stream: KeptStream, stored: Stored): void {
    this.streams[stream].push(stored);
  }

  /** Stores a node's message with its place in the chain. */
  storeChained(node: string, stream: KeptStream, subject: Subject, body: object): SignedMessage {
    return this.#chained(node, node, stream, subject, body);
  }

  #chained(
    chain: string,
    author: string,
    stream: KeptStream,
    subject: Subject,
    body: object,
  ): SignedMessage {
    const { n, prev } = this.#chains.get(chain) ?? { n: 0, prev: chainStart };
    const message = this.store(author, stream, subject, { n: n + 1, prev, ...body });
    this.#chains.set(chain, { n: n + 1, prev: message.hash });
    return message;
  }

  nodeStarted(node: string): void {
    const body = { version: 1, type: "node-started", node, boot: this.id(), time: this.time() };
    this.storeChained(node, "THSM_AUDIT", { kind: "node-audit", node }, body);
  }

  propose(overrides: object = {}): void {
    const bytes = groupKeyBytes(this.#dealt.group);
    const message = this.clientKeyEvent("proposed", {
      epoch: 0,
      token: "zones",
      label: "example.org ZSK",
      id: "01",
      algorithm: "rsa",
      scheme: "shoup",
      modulus: toBase64url(bytes.modulus),
      publicExponent: toBase64url(bytes.publicExponent),
      threshold: bytes.threshold,
      parties: this.nodes,
      minimum: bytes.parties,
      verificationBase: toBase64url(bytes.verificationBase),
      verificationKeys: bytes.verificationKeys.map(toBase64url),
      encodings: ["pkcs1v15", "pss"],
      hashes: ["sha256"],
      maxInputs: 64,
      proofs: "on-failure",
      ...overrides,
    });
    this.#proposal = message.hash;
  }

  clientKeyEvent(type: string, fields: object): SignedMessage {
    const { key } = this;
    const proposal = type === "proposed" ? {} : { proposal: this.#proposal };
    const common = { version: 1, type, key, client: "knot", ...proposal, time: this.time() };
    const body = { ...common, ...fields };
    return this.store(body.client, "THSM_KEY", { kind: "key", key }, body);
  }

  nodeKeyEvent(node: string, type: string, fields: object = {}): void {
    const { key } = this;
    const party = this.nodes.indexOf(node) + 1;
    const proposal = this.#proposal;
    const body = { version: 1, type, key, node, party, proposal, ...fields, time: this.time() };
    this.storeChained(node, "THSM_KEY", { kind: "key", key }, body);
  }

  /** The whole way from proposal to activation, with its test signature. */
  makeKey(session: Session, overrides: object = {}): void {
    this.propose(overrides);
    for (const node of this.nodes) {
      this.nodeKeyEvent(node, "ready", { sealingKey: toBase64url(Buffer.alloc(32, 7)) });
    }
    for (const node of this.nodes) this.nodeKeyEvent(node, "accepted");
    const test = this.request(session, { kind: "test", parties: this.#firstParties() });
    for (const party of test.body.parties) this.answer(party, test);
    this.clientKeyEvent("activated", {
      accepted: this.nodes.map((_, index) => index + 1),
      session: session.id,
      rid: test.body.rid,
    });
  }

  openSession(client = "knot", token = "zones", application = "knotd 4711"): Session {
    const session: Session = { client, id: this.id(), token, requests: 0 };
    this.clientAudit(session, "session-opened", { token, application });
    return session;
  }

  closeSession(session: Session, fields: object = {}): void {
    this.clientAudit(session, "session-closed", { requests: session.requests, ...fields });
  }

  /** Stores a client's event with its place in the session's chain. */
  clientAudit({ client, id: session }: Session, type: string, fields: object): SignedMessage {
    const body = { version: 2, type, client, session, ...fields, time: this.time() };
    return this.#chained(
      session,
      client,
      "THSM_AUDIT",
      { kind: "client-audit", client, session },
      body,
    );
  }

  request(session: Session, fields: Partial<SignRequest> = {}): Asked {
    const body: SignRequest = {
      version: 1,
      kind: "sign",
      client: session.client,
      session: session.id,
      seq: ++session.requests,
      rid: this.id(),
      key: this.key,
      epoch: 0,
      algorithm: "rsa",
      scheme: "shoup",
      parties: this.#firstParties(),
      encoding: "pkcs1v15",
      hash: "sha256",
      inputs: [this.digest(`input ${this.#ids}`)],
      expires: this.time(60_000),
      attempt: 1,
      ...fields,
    };
    const subject = {
      kind: "request",
      client: body.client,
      session: body.session,
      rid: body.rid,
    } as const;
    const { seq, hash } = this.store(session.client, "THSM_REQ", subject, body);
    return { body, seq, hash };
  }

  /** A node's right answer, unless told otherwise. */
  answer(party: number, asked: Asked, fields: Partial<ShareMessage> = {}): SignedMessage {
    const node = this.nodes[party - 1] ?? "";
    const { client, session, rid, key, epoch } = asked.body;
    const body = {
      version: 1,
      kind: "shares",
      node,
      party,
      client,
      session,
      rid,
      key,
      epoch,
      ...(fields.kind === "refusal" ? {} : { shares: this.shares(party, asked.body) }),
      request: asked.hash,
      reqSeq: asked.seq,
      time: this.time(),
      ...fields,
    };
    const subject = { kind: "share", node, client, session, rid: body.rid } as const;
    return this.storeChained(node, "THSM_SHARE", subject, body);
  }

  shares(party: number, body: SignRequest): string[] {
    const signer = this.#signers[party - 1];
    if (signer === undefined) throw new RangeError(`no party ${party}`);
    return this.encoded(body).map((encoded) => toBase64url(signer.sign(encoded)));
  }

  proofs(party: number, body: SignRequest): string[] {
    const signer = this.#signers[party - 1];
    if (signer === undefined) throw new RangeError(`no party ${party}`);
    const context = { keyId: this.key, epoch: 0 };
    return this.encoded(body).map((encoded) => toBase64url(signer.prove(encoded, context)));
  }

  encoded({ inputs, salts }: SignRequest): Uint8Array[] {
    return inputs.map((input, index) => {
      const data = Buffer.from(input, "hex");
      const salt = salts?.[index];
      return encodeMessage(
        this.#dealt.group,
        salt === undefined
          ? { encoding: "pkcs1v15", hash: "sha256", data }
          : { encoding: "pss", hash: "sha256", data, salt: Buffer.from(salt, "hex") },
      );
    });
  }

  /** The result that an honest client records. */
  result(asked: Asked, quorum: readonly number[], fields: object = {}): SignedMessage {
    const { client, session: id, rid, key, epoch } = asked.body;
    return this.clientAudit({ client, id, token: "", requests: 0 }, "result", {
      rid,
      key,
      epoch,
      quorum,
      signatures: this.signatures(asked.body, quorum),
      elapsedMs: 12,
      ...fields,
    });
  }

  signatures(body: SignRequest, quorum: readonly number[]): string[] {
    const { group } = this.#dealt;
    const answers = quorum.map((party) => this.shares(party, body));
    return this.encoded(body).map((encoded, input) => {
      const shares = answers.map((texts, index) =>
        parseSignatureShare(
          group,
          quorum[index] ?? 0,
          Buffer.from(texts[input] ?? "", "base64url"),
        ),
      );
      return toBase64url(combine(group, encoded, shares));
    });
  }

  /** A request that is answered by those asked, and closed by its result. */
  signed(session: Session, fields: Partial<SignRequest> = {}): Asked {
    const asked = this.request(session, fields);
    for (const party of asked.body.parties) this.answer(party, asked);
    this.result(asked, asked.body.parties);
    return asked;
  }

  identity(name: string): IdentityKey {
    let identity = this.#identities.get(name);
    if (identity === undefined) {
      identity = new IdentityKey(createHash("sha256").update(`seed of ${name}`).digest());
      this.#identities.set(name, identity);
    }
    return identity;
  }

  #firstParties(): number[] {
    return Array.from({ length: this.#dealt.group.threshold }, (_, index) => index + 1);
  }

  /** What cluster.toml says. */
  clusterFile(): ConstructorParameters<typeof Cluster>[0] {
    const member = (name: string) => ({
      name,
      identity: this.identity(name).publicKey.text,
      login: `U${toHex(Buffer.from(name))
        .toUpperCase()
        .replaceAll(/[0189]/g, "Z")
        .padEnd(55, "A")}`,
    });
    return {
      version: 1,
      name: "test",
      servers: ["nats://127.0.0.1"],
      node: this.nodes.map(member),
      client: ["knot", "bind"].map(member),
      operator: ["oda"].map(member),
      auditor: ["eva"].map(member),
      token: [
        { name: "zones", clients: ["knot"] },
        { name: "other", clients: ["bind"] },
      ],
    };
  }
}

/**
 * Everything that happens to honest members: a key is made, requests of one and of several inputs, PKCS #1
 * and PSS, a silent node and an escalation that it answers late, a refusal, a repeat, the key's end.
 */
export function honestHistory(options: HistoryOptions = {}): HistoryBuilder {
  const history = new HistoryBuilder(options);
  for (const node of history.nodes) history.nodeStarted(node);
  const session = history.openSession();
  history.makeKey(session);
  history.signed(session);
  history.signed(session, {
    parties: [2, 3],
    inputs: ["a", "b", "c"].map((text) => history.digest(text)),
  });
  history.signed(session, { encoding: "pss", salts: ["00112233"] });

  const slow = history.request(session);
  history.answer(1, slow);
  const { body } = slow;
  const again = history.request(session, {
    attempt: 2,
    of: body.rid,
    parties: [3],
    inputs: body.inputs,
  });
  history.answer(3, again);
  history.answer(2, slow);
  history.result(slow, [1, 3]);

  const refused = history.request(session, { hash: "sha1", inputs: ["00".repeat(20)] });
  for (const party of refused.body.parties) {
    const refusal = { code: "ERR_REFUSED_BY_POLICY", reason: "hash sha1 is not allowed" };
    history.answer(party, refused, { kind: "refusal", ...refusal });
  }
  const { rid, key } = refused.body;
  history.clientAudit(session, "failure", {
    rid,
    key,
    code: "ERR_REFUSED_BY_POLICY",
    reason: "no",
  });

  const explain = history.request(session, { kind: "explain", of: body.rid, inputs: body.inputs });
  for (const party of explain.body.parties) {
    const proofs = history.proofs(party, explain.body);
    history.answer(party, explain, { kind: "explanation", proofs });
  }
  history.closeSession(session);
  return history;
}
