/**
 * @module Whom this client avoids, and why: what it saw itself, and what others proved on the stream. Says on
 * the stream what it found. Culprits and suspects stay avoided until an operator clears them, also by a
 * client that starts later.
 */
import type { NatsConnection, Subscription } from "nats";
import { describeError, HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import type { Logger } from "../../log.js";
import { mostEvidence, type BlameVerdict } from "../../streams/audit-events.js";
import { carry } from "../../streams/carried.js";
import { signMessage, type SignedMessage } from "../../streams/envelope.js";
import { formatVersion } from "../../streams/fields.js";
import type { Publisher } from "../../streams/publish.js";
import type { StreamReader } from "../../streams/read.js";
import {
  allBlames,
  allClears,
  formatSubject,
  storedSubject,
  streamNames,
} from "../../streams/subjects.js";
import type { Named } from "../audit/named.js";
import type { IdentityLock } from "../identity-lock.js";
import { Ledger, readLedger } from "./ledger.js";

/** What a client has to say of a node. */
export interface Charge {
  readonly node: string;
  readonly verdict: BlameVerdict;
  readonly code: string;
  readonly text: string;
  /** Hashes of the messages that show it. */
  readonly evidence: readonly string[];
  readonly messages: readonly SignedMessage[];
  readonly party?: number;
  readonly key?: string;
  readonly rid?: string;
}

export interface BlameBookOptions {
  readonly cluster: Cluster;
  readonly client: string;
  readonly connection: NatsConnection;
  readonly reader: StreamReader;
  readonly publisher: Publisher;
  readonly identity: IdentityLock;
  readonly log: Logger;
  readonly onChange: (node: string, isAvoided: boolean) => void;
}

/** Below the limit of THSM_AUDIT, with room for the other fields. */
const maxCarriedBytes = 100_000;
const pollMs = 60_000;
const bellMs = 200;
const recordMs = 600_000;
/** Charges that a result may still name. */
const mostRecent = 256;

type Recent = Pick<Charge, "node" | "verdict" | "evidence"> & { readonly rid: string | undefined };

export class BlameBook {
  readonly #options: BlameBookOptions;
  readonly #ledger: Ledger;
  /** Charges of this process that are not on the stream yet. */
  readonly #pending = new Map<string, Charge>();
  /** Charges, said or not because they were no news. */
  readonly #recent: Recent[] = [];
  readonly #inquiries = new Map<string, Promise<unknown>>();
  readonly #subscriptions: Subscription[];
  readonly #timer: NodeJS.Timeout;
  readonly #publishing = new Set<Promise<unknown>>();
  #bell: NodeJS.Timeout | undefined;

  constructor(options: BlameBookOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options.cluster);
    // Only a bell: what counts is read from the stream, which vouches for the order.
    this.#subscriptions = [allBlames, allClears].map((filter) =>
      options.connection.subscribe(storedSubject(filter), { callback: () => this.#ring() }),
    );
    this.#timer = setInterval(() => this.#ring(), pollMs);
    this.#timer.unref();
  }

  /** Learns what the stream says now. @throws HsmError `ERR_BROKER_UNREACHABLE` */
  async load(): Promise<void> {
    const { cluster, reader, log } = this.#options;
    const junk = await readLedger(this.#ledger, cluster, reader);
    for (const subject of junk) log.warn({ subject }, "somebody hides what was said of a node");
    for (const { name } of cluster.nodes) this.#tell(name);
  }

  isAvoided(node: string): boolean {
    return this.#inquiries.has(node) || this.#verdictOn(node) !== undefined;
  }

  /** The inquiry about a node that is under way. */
  inquiryInto(node: string): Promise<unknown> | undefined {
    return this.#inquiries.get(node);
  }

  /** Avoids the nodes while it is found out what they did. */
  async during<T>(nodes: readonly string[], inquiry: Promise<T>): Promise<T> {
    for (const node of nodes) this.#inquiries.set(node, inquiry);
    for (const node of nodes) this.#tell(node);
    try {
      return await inquiry;
    } finally {
      for (const node of nodes) this.#inquiries.delete(node);
      for (const node of nodes) this.#tell(node);
    }
  }

  isCulprit(node: string): boolean {
    return this.#verdictOn(node) === "culprit";
  }

  /** Whom this client has charged over these requests, for their result to name. */
  namedOver(rids: readonly string[]): Named {
    return named(this.#recent.filter(({ rid }) => rid !== undefined && rids.includes(rid)));
  }

  /** Avoids the node from now on, and says why on the stream, once. */
  charge(charge: Charge): void {
    const { log } = this.#options;
    const { node, verdict, code, evidence, rid, text } = charge;
    this.#recent.push({ node, verdict, evidence, rid });
    if (this.#recent.length > mostRecent) this.#recent.shift();
    const isNews =
      verdict === "culprit"
        ? !this.isCulprit(node)
        : this.#verdictOn(node) === undefined && !this.#hasSaid(node, code);
    if (!isNews) return;
    log.error(
      { node, rid, code, evidence: evidence[0], reason: text },
      verdict === "culprit" ? "culprit" : "suspect",
    );
    this.#pending.set(node, charge);
    this.#tell(node);
    this.#say(charge);
  }

  /**
   * Takes back a suspicion of this client that has turned out wrong. False while it cannot: the suspicion
   * is not on the stream yet. What others say, or this client of something else, stands.
   */
  withdraw(charge: Charge): boolean {
    const { node, code } = charge;
    if (this.#pending.has(node)) return false;
    const { client, log } = this.#options;
    const stands = this.#ledger
      .of(node)
      .some(
        ({ verdict, body }) =>
          verdict === "suspect" && body.client === client && body.code === code,
      );
    if (!stands) return true;
    log.warn({ node, code, reason: charge.text }, "suspicion withdrawn");
    this.#say({ ...charge, verdict: "withdrawn" });
    return true;
  }

  /** What was charged is on the stream. */
  async idle(): Promise<void> {
    await Promise.all(this.#publishing);
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#bell);
    for (const one of this.#subscriptions) one.unsubscribe();
  }

  #say(charge: Charge): void {
    const { log, client } = this.#options;
    const { node } = charge;
    try {
      const subject = formatSubject({ kind: "blame", client, node });
      const message = signMessage(
        this.#options.identity.require(),
        streamNames.audit,
        subject,
        bodyOf(client, charge),
      );
      const stored = this.#publish(message, node);
      this.#publishing.add(stored);
      void stored.finally(() => this.#publishing.delete(stored));
    } catch (error) {
      log.warn({ node, error: describeError(error) }, "blame not recorded");
    }
  }

  async #publish(message: SignedMessage, node: string): Promise<void> {
    const { publisher, log } = this.#options;
    try {
      const { seq } = await publisher.publish(message, { timeoutMs: recordMs });
      this.#ledger.apply({ ...message, seq, time: "" }, true);
      this.#pending.delete(node);
      this.#tell(node);
    } catch (error) {
      log.warn({ node, error: describeError(error) }, "blame not recorded");
    }
  }

  #hasSaid(node: string, code: string): boolean {
    const { client } = this.#options;
    return this.#ledger.of(node).some(({ body }) => body.client === client && body.code === code);
  }

  #verdictOn(node: string): BlameVerdict | undefined {
    const pending = this.#pending.get(node);
    if (pending !== undefined && pending.code !== "silent") return pending.verdict;
    const { client } = this.#options;
    // What another client cannot prove is its own affair.
    return this.#ledger
      .of(node)
      .find(
        ({ verdict, body }) =>
          verdict === "culprit" || (body.client === client && body.code !== "silent"),
      )?.verdict;
  }

  #tell(node: string): void {
    this.#options.onChange(node, this.isAvoided(node));
  }

  /** Several at once are read once. */
  #ring(): void {
    this.#bell ??= setTimeout(() => {
      this.#bell = undefined;
      this.load().catch((error: unknown) => {
        const closed = error instanceof HsmError && this.#options.connection.isClosed();
        if (!closed) this.#options.log.warn({ error: describeError(error) }, "cannot read blames");
      });
    }, bellMs);
    this.#bell.unref();
  }
}

function named(charges: readonly Recent[]): Named {
  const of = (wanted: BlameVerdict): string[] =>
    charges.flatMap(({ node, verdict }) => (verdict === wanted ? [node] : []));
  const lists = {
    culprits: of("culprit"),
    suspects: of("suspect").filter((node) => !of("culprit").includes(node)),
    evidence: charges.flatMap(({ evidence }) => evidence),
  };
  return Object.fromEntries(
    Object.entries(lists).flatMap(([field, all]) =>
      all.length === 0 ? [] : [[field, [...new Set(all)].slice(0, mostEvidence)]],
    ),
  );
}

function bodyOf(client: string, charge: Charge): object {
  const { node, verdict, code, text, party, key, rid, evidence, messages } = charge;
  const carried = messages.map(carry);
  const fits = carried.length > 0 && JSON.stringify(carried).length <= maxCarriedBytes;
  return {
    version: formatVersion,
    type: "misbehaviour",
    client,
    node,
    verdict,
    code,
    text: text.slice(0, 400),
    party,
    key,
    rid,
    ...(evidence.length > 0 ? { evidence } : {}),
    ...(fits ? { messages: carried } : {}),
    time: new Date().toISOString(),
  };
}
