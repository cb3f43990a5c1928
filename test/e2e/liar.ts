/**
 * @module A node gone bad: it has n2's identity, login and key share, reads n2's consumer, beats, keeps
 * n2's chain, and answers as a test tells it to.
 */
import { join } from "node:path";
import type { NatsConnection } from "nats";
import type { KeyInfo } from "../../src/client/index.js";
import { readCluster } from "../../src/identity/cluster.js";
import { fromBase64url, fromHex, toBase64url } from "../../src/identity/encoding.js";
import { readIdentityFile } from "../../src/identity/identity-file.js";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { silentLogger } from "../../src/log.js";
import { KeyStore } from "../../src/node/key-store.js";
import {
  encodeMessage,
  parseGroupKey,
  parseKeyShare,
  ShareSigner,
  type Encoding,
  type GroupKey,
  type Hash,
} from "../../src/scheme/index.js";
import { connectBus } from "../../src/streams/connection.js";
import { consume } from "../../src/streams/consume.js";
import {
  assembleMessage,
  messageHeaders,
  signMessage,
  type SignedMessage,
  type StoredMessage,
} from "../../src/streams/envelope.js";
import type { KeyProposed } from "../../src/streams/keys.js";
import { readRequest } from "../../src/streams/open.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import type { SignRequest } from "../../src/streams/requests.js";
import { nodeConsumer } from "../../src/streams/settings.js";
import type { ShareMessage } from "../../src/streams/shares.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import type { TestCluster } from "./cluster.js";
import { bodyOf, readHistory } from "./history.js";

const name = "n2";
const party = 2;

/** A share message's body, as it is before it is signed. */
export type AnswerBody = Pick<ShareMessage, keyof ShareMessage>;

/** What the liar does with a request that names it. */
export type Lie = (liar: Liar, request: SignRequest, honest: AnswerBody) => void;

export class Liar {
  lie: Lie = (liar, _, honest) => liar.say(honest);
  /** Requests that were answered with the lie. */
  answered = 0;
  /** Its first honest answer. */
  first: SignedMessage | undefined;
  /** Hashes of what it stored under its own signature. */
  readonly said: string[] = [];
  readonly group: GroupKey;
  readonly #connection: NatsConnection;
  readonly #identity: IdentityKey;
  readonly #publisher: Publisher;
  readonly #signer: ShareSigner;
  /** Its key asks for share proofs always. */
  readonly #isProving: boolean;
  readonly #stop = new AbortController();
  #chain: { n: number; prev: string };
  #beats = 0;

  private constructor(
    connection: NatsConnection,
    identity: IdentityKey,
    group: GroupKey,
    signer: ShareSigner,
    isProving: boolean,
    chain: { n: number; prev: string },
  ) {
    this.#connection = connection;
    this.#identity = identity;
    this.#publisher = new Publisher(connection, new StreamReader(connection), name);
    this.group = group;
    this.#signer = signer;
    this.#isProving = isProving;
    this.#chain = chain;
  }

  /** Takes the place of n2, which must not run. */
  static async start(cluster: TestCluster, key: Pick<KeyInfo, "keyId">): Promise<Liar> {
    const at = join(cluster.dir, "nodes", name);
    const { servers } = await readCluster(join(at, "cluster.toml"));
    const identity = (await readIdentityFile(join(at, "identity.json"))).openUnprotected();
    const history = await readHistory(cluster);
    const proposed = history.find(
      (one) => one.stream === "THSM_KEY" && bodyOf(one)["key"] === key.keyId,
    );
    if (proposed === undefined) throw new Error("no proposal");
    const group = groupOf(bodyOf(proposed) as unknown as KeyProposed);
    const store = await KeyStore.open(join(at, "data"));
    const binding = { key: key.keyId, epoch: 0, party, proposal: proposed.hash };
    const share = parseKeyShare(await store.load(binding), group);
    const loginFile = join(at, "login.nk");
    const options = { servers, name, loginFile, log: silentLogger, timeoutMs: 5000 };
    const connection = await connectBus(options);
    const chain = { n: 0, prev: "0".repeat(64) };
    for (const message of history) {
      const { node, n } = bodyOf(message);
      if (node !== name || typeof n !== "number" || n <= chain.n) continue;
      Object.assign(chain, { n, prev: message.hash });
    }
    const signer = new ShareSigner(group, share);
    const isProving = bodyOf(proposed)["proofs"] === "always";
    const liar = new Liar(connection, identity, group, signer, isProving, chain);
    liar.#run();
    return liar;
  }

  /** Signs with n2's identity, as the next of its chain, and stores. */
  say(body: Omit<AnswerBody, "n" | "prev">, headers: Readonly<Record<string, string>> = {}): void {
    const chained = { ...body, n: this.#chain.n + 1, prev: this.#chain.prev };
    const message = this.sign(body, chained);
    if (Object.keys(headers).length === 0) this.#chain = { n: chained.n, prev: message.hash };
    this.put(message, headers);
  }

  /** A message of n2's on the subject of an answer to `to`. */
  sign(to: Pick<AnswerBody, "client" | "session" | "rid">, body: object): SignedMessage {
    const { client, session, rid } = to;
    const subject = formatSubject({ kind: "share", node: name, client, session, rid });
    return signMessage(this.#identity, streamNames.shares, subject, body);
  }

  put(message: SignedMessage, headers: Readonly<Record<string, string>> = {}): void {
    this.said.push(message.hash);
    const h = messageHeaders(message);
    for (const [header, value] of Object.entries(headers)) h.set(header, value);
    const { subject, payload } = message;
    this.#connection.publish(subject, payload, { headers: h, reply: "_INBOX_n2.none" });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#publisher.close();
    await this.#connection.close();
  }

  #run(): void {
    const boot = toBase64url(Buffer.alloc(16, 7));
    const beat = (): void => {
      const subject = formatSubject({ kind: "beat", node: name });
      const time = new Date().toISOString();
      const numbers = { beat: this.#beats++, queued: 0, activeKeys: 1 };
      const body = { version: 1, node: name, boot, ...numbers, time };
      const message = signMessage(this.#identity, "", subject, body);
      this.#connection.publish(subject, message.payload, { headers: messageHeaders(message) });
    };
    const timer = setInterval(beat, 500);
    this.#stop.signal.addEventListener("abort", () => clearInterval(timer));
    beat();
    void consume({
      connection: this.#connection,
      stream: streamNames.requests,
      consumer: nodeConsumer(name),
      log: silentLogger,
      signal: this.#stop.signal,
      ignore: (_, junk) => junk.ack(),
      handle: ({ message, ack }) => {
        ack();
        this.#answer(message);
      },
    });
  }

  #answer(message: StoredMessage): void {
    let request: SignRequest;
    try {
      request = readRequest(message);
    } catch {
      return;
    }
    if (!request.parties.includes(party)) return;
    const { client, session, rid, key, epoch } = request;
    const encoded = request.inputs.map((input, i) =>
      this.#encode(request, input, request.salts?.[i]),
    );
    const shares = encoded.map((one) => toBase64url(this.#signer.sign(one)));
    const isExplained = request.kind === "explain";
    const terms = { keyId: key, epoch };
    const proofs =
      isExplained || this.#isProving
        ? encoded.map((one) => toBase64url(this.#signer.prove(one, terms)))
        : undefined;
    const bound = { request: message.hash, reqSeq: message.seq };
    const head = { version: 1, node: name, party, client, session, rid } as const;
    const kind = isExplained ? "explanation" : "shares";
    const time = new Date().toISOString();
    const given = { shares, ...(proofs === undefined ? {} : { proofs }) };
    const honest = { ...head, kind, key, epoch, ...given, ...bound, time, n: 0, prev: "" } as const;
    this.first ??= this.sign(request, honest);
    this.answered++;
    this.lie(this, request, honest);
  }

  #encode({ encoding, hash }: SignRequest, input: string, salt?: string): Uint8Array {
    return encodeMessage(this.group, {
      encoding: encoding as Encoding,
      hash: hash as Hash,
      data: fromHex(input, "input"),
      ...(salt === undefined ? {} : { salt: fromHex(salt, "salt") }),
    });
  }
}

/** The same message with other bytes, and the signature of the right ones. */
export function alter(
  message: SignedMessage,
  payload: Uint8Array,
  subject?: string,
): SignedMessage {
  return assembleMessage(
    streamNames.shares,
    subject ?? message.subject,
    payload,
    message.signature,
  );
}

function groupOf(record: KeyProposed): GroupKey {
  return parseGroupKey({
    modulus: fromBase64url(record.modulus, ""),
    publicExponent: fromBase64url(record.publicExponent, ""),
    threshold: record.threshold,
    parties: record.parties.length,
    verificationBase: fromBase64url(record.verificationBase, ""),
    verificationKeys: record.verificationKeys.map((one) => fromBase64url(one, "")),
  });
}
