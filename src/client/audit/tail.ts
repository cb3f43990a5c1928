/**
 * @module The streams as they grow. Every message is read by direct get and verified; what the server
 * delivers by itself is only a bell.
 */
import type { NatsConnection } from "nats";
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import { StreamReader, type Entry } from "../../streams/read.js";
import { allShares, formatSubject } from "../../streams/subjects.js";
import { admit, open, type Admitted } from "./admit.js";
import type { FindingFacts } from "./findings.js";
import { merge, type StreamEntry } from "./merge.js";
import { byStream, filters, type KeptStream } from "./sources.js";
import { junkLine, tailLine, type Concerned, type Names, type TailLine } from "./tail-line.js";

export interface TailFilter {
  readonly client?: string;
  readonly session?: string;
  readonly key?: string;
  /** A node that says it, of which it is said, that was asked or took part. */
  readonly node?: string;
  /** Only what went wrong. */
  readonly failures?: boolean;
}

export interface TailOptions extends TailFilter {
  /** Begin with so many messages that are stored already. */
  readonly last: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** The server does not answer: told once, until it answers again. */
  readonly onSilence?: (error: HsmError) => void;
}

/** A share has no bell behind its storing, and a bell may be lost. */
const pollMs = 1000;
/** Whatever a message relies on stands in a later stream of these: its end is read later. */
const effectsFirst = ["THSM_AUDIT", "THSM_SHARE", "THSM_REQ", "THSM_KEY"] as const;
/** Names are looked up again when so many are known. */
const mostNames = 4096;
/** Junk that is passed over on the way to a name. */
const mostJunk = 8;

/**
 * Each message, in its stream's order, for as long as `signal` allows; over reconnects, without a gap.
 * What nobody answers for is told whatever the filter: it may be about anything.
 * @throws HsmError when the login may not read
 */
export async function* tailHistory(
  connection: NatsConnection,
  cluster: Cluster,
  options: TailOptions,
): AsyncGenerator<TailLine> {
  const tail = new Tail(connection, cluster);
  const bell = new Bell(connection, options.signal);
  let last: number | undefined = options.last;
  let isSilent = false;
  try {
    while (!options.signal.aborted) {
      try {
        const round = last === undefined ? tail.next() : tail.newest(last);
        for await (const line of round) {
          if (options.signal.aborted) return;
          if (isWanted(line, options)) yield line;
        }
        last = undefined;
        isSilent = false;
      } catch (error) {
        if (!(error instanceof HsmError) || error.code !== "ERR_BROKER_UNREACHABLE") throw error;
        if (!isSilent && !options.signal.aborted) options.onSilence?.(error);
        isSilent = true;
      }
      await bell.rung();
    }
  } finally {
    bell.close();
  }
}

class Tail {
  readonly #reader: StreamReader;
  readonly #cluster: Cluster;
  readonly #told = byStream(() => 0);
  readonly #keys = new Map<string, Pick<Names, "label" | "parties">>();
  readonly #applications = new Map<string, string>();

  constructor(connection: NatsConnection, cluster: Cluster) {
    this.#reader = new StreamReader(connection);
    this.#cluster = cluster;
  }

  /** The newest `count` of all streams together. */
  async *newest(count: number): AsyncGenerator<TailLine> {
    const ends = await this.#ends();
    const entries: StreamEntry[] = [];
    if (count > 0) {
      const from = byStream((stream) => Math.max(0, ends[stream] - count));
      for await (const entry of this.#between(from, ends)) {
        if (entries.push(entry) > count) entries.shift();
      }
    }
    const lines: TailLine[] = [];
    for (const entry of entries) lines.push(await this.#line(entry));
    // From here on nothing can fail: it is told once.
    Object.assign(this.#told, ends);
    yield* lines;
  }

  /** What was stored since. */
  async *next(): AsyncGenerator<TailLine> {
    const ends = await this.#ends();
    for (const stream of effectsFirst) {
      if (ends[stream] >= this.#told[stream]) continue;
      const text = `${stream} ends at ${ends[stream]}, and ${this.#told[stream]} of it have been told`;
      const seq = [ends[stream]];
      this.#told[stream] = ends[stream];
      yield junkLine({ code: "AUDIT_ROLLED_BACK", stream, seq, text }, new Date().toISOString());
    }
    for await (const one of this.#between({ ...this.#told }, ends)) {
      const line = await this.#line(one);
      this.#told[one.stream] = one.entry.seq;
      yield line;
    }
    Object.assign(this.#told, ends);
  }

  async #ends(): Promise<Record<KeptStream, number>> {
    const ends = byStream(() => 0);
    for (const stream of effectsFirst) {
      ends[stream] = await this.#reader.lastSeq(stream, filters[stream]);
    }
    return ends;
  }

  #between(
    after: Readonly<Record<KeptStream, number>>,
    ends: Readonly<Record<KeptStream, number>>,
  ): AsyncGenerator<StreamEntry> {
    const entries = (stream: KeptStream): AsyncIterable<Entry> =>
      this.#reader.replay(stream, after[stream] + 1, ends[stream]);
    return merge({ entries }, effectsFirst.toReversed());
  }

  async #line({ stream, entry }: StreamEntry): Promise<TailLine> {
    let junk: FindingFacts | undefined;
    const admitted = this.#verified(stream, entry, (facts) => (junk = facts));
    if (admitted !== undefined) {
      const concerned = concernedBy(admitted);
      return tailLine(stream, admitted, concerned, await this.#names(concerned));
    }
    const time = "message" in entry ? entry.message.time : new Date().toISOString();
    const facts = junk ?? { code: "AUDIT_BAD_MESSAGE", seq: [entry.seq], text: "unreadable" };
    return junkLine({ ...facts, stream }, time);
  }

  #verified(
    stream: KeptStream,
    entry: Entry,
    report: (facts: FindingFacts) => void = () => undefined,
  ): Admitted | undefined {
    const opened = open(this.#cluster, stream, entry);
    const { claim } = opened;
    const isSigned = claim?.member.identity.verify(claim.signed, claim.signature) === true;
    return admit(opened, isSigned, report);
  }

  async #names({ client, session, key }: Concerned): Promise<Names> {
    const named = key === undefined ? undefined : await this.#key(key);
    const application =
      client === undefined || session === undefined
        ? undefined
        : await this.#application(client, session);
    return { label: named?.label, parties: named?.parties ?? [], application };
  }

  async #key(key: string): Promise<Pick<Names, "label" | "parties"> | undefined> {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const subject = formatSubject({ kind: "key", key });
    const found = await this.#first("THSM_KEY", subject, ({ kind, body }) =>
      kind === "key" && body.type === "proposed" ? body : undefined,
    );
    return found && remember(this.#keys, key, found);
  }

  async #application(client: string, session: string): Promise<string | undefined> {
    const id = `${client}.${session}`;
    const known = this.#applications.get(id);
    if (known !== undefined) return known;
    const subject = formatSubject({ kind: "client-audit", client, session });
    const found = await this.#first("THSM_AUDIT", subject, ({ kind, body }) =>
      kind === "audit" && body.type === "session-opened" ? body : undefined,
    );
    return found && remember(this.#applications, id, found.application);
  }

  /** The first message on a subject that is what `pick` looks for. */
  async #first<T>(
    stream: KeptStream,
    subject: string,
    pick: (admitted: Admitted) => T | undefined,
  ): Promise<T | undefined> {
    let from = 1;
    for (let tries = 0; tries < mostJunk; tries++) {
      const entry = await this.#reader.nextEntry(stream, subject, from);
      if (entry === undefined) return undefined;
      const admitted = this.#verified(stream, entry);
      const found = admitted && pick(admitted);
      if (found !== undefined) return found;
      from = entry.seq + 1;
    }
    return undefined;
  }
}

/** Rings when something was stored, when it is time to look anyway, and at the end. */
class Bell {
  readonly #close: () => void;
  #hasRung = false;
  #wake: (() => void) | undefined;

  constructor(connection: NatsConnection, signal: AbortSignal) {
    const ring = (): void => {
      this.#hasRung = true;
      this.#wake?.();
    };
    const subjects = ["thsm.v1.stored.>", allShares];
    const bells = subjects.map((subject) => connection.subscribe(subject, { callback: ring }));
    const timer = setInterval(ring, pollMs);
    signal.addEventListener("abort", ring);
    this.#close = () => {
      clearInterval(timer);
      signal.removeEventListener("abort", ring);
      for (const bell of bells) bell.unsubscribe();
    };
  }

  async rung(): Promise<void> {
    if (!this.#hasRung) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#hasRung = false;
  }

  close(): void {
    this.#close();
  }
}

function remember<T>(names: Map<string, T>, id: string, name: T): T {
  if (names.size >= mostNames) names.clear();
  names.set(id, name);
  return name;
}

function concernedBy({ body }: Admitted): Concerned {
  const fields = new Map<string, unknown>(Object.entries(body ?? {}));
  const of = (name: keyof Concerned): Concerned => {
    const value = fields.get(name);
    return typeof value === "string" ? { [name]: value } : {};
  };
  return { ...of("client"), ...of("session"), ...of("rid"), ...of("key"), ...of("node") };
}

function isWanted(line: TailLine, { client, session, key, node, failures }: TailFilter): boolean {
  if (line.type === "junk") return true;
  return (
    (client ?? line.client) === line.client &&
    (session ?? line.session) === line.session &&
    (key ?? line.key) === line.key &&
    (node === undefined || node === line.node || line.nodes?.includes(node) === true) &&
    (failures !== true || line.isFailure)
  );
}
