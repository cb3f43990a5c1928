/**
 * @module A long genuine history, written to a directory as an export: every message signed, every chain
 * and signature right. The digests repeat after a while, so that their shares need not be computed again;
 * no audit can gain by that.
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  checkpointText,
  leafOfMessage,
  nodeNoteKey,
  originOf,
  signCheckpoint,
} from "../../src/checkpoint/checkpoint.js";
import { GrowingTree } from "../../src/checkpoint/merkle.js";
import { formatNote } from "../../src/checkpoint/note.js";
import { byStream, keptStreams, type KeptStream } from "../../src/client/audit/sources.js";
import { formatEntry } from "../../src/client/audit/ndjson.js";
import { assembleMessage } from "../../src/streams/envelope.js";
import { SignRequest } from "../../src/streams/requests.js";
import { HistoryBuilder, type HistoryOptions, type Stored } from "../client/audit/history.js";

const distinctDigests = 256;
/** All nodes sign a checkpoint after so many requests. */
const requestsPerCheckpoint = 100;
const flushBytes = 1 << 20;

export interface LongHistoryOptions extends HistoryOptions {
  readonly directory: string;
  readonly signatures: number;
  /** Inputs a request. */
  readonly batch: number;
}

/** Writes the history: one key, one session, quorums in turn. */
export function writeLongHistory(options: LongHistoryOptions): LongHistory {
  const history = new LongHistory(options);
  const { signatures, batch } = options;
  const parties = history.nodes.map((_, index) => index + 1);
  const threshold = options.threshold ?? 2;
  for (const node of history.nodes) history.nodeStarted(node);
  const session = history.openSession();
  history.makeKey(session);
  for (let done = 0; done < signatures; done += batch) {
    const inputs = Array.from({ length: batch }, (_, index) =>
      history.digest(`long ${(done + index) % distinctDigests}`),
    );
    const first = (done / batch) % parties.length;
    const asked = [...parties, ...parties].slice(first, first + threshold);
    history.signed(session, { inputs, parties: asked });
    if ((done / batch) % requestsPerCheckpoint === 0) history.checkpoint();
  }
  history.closeSession(session);
  history.close();
  return history;
}

export class LongHistory extends HistoryBuilder {
  readonly #directory: string;
  readonly #files: Record<KeptStream, number>;
  readonly #pending = byStream<string[]>(() => []);
  readonly #pendingBytes = byStream(() => 0);
  readonly #counts = byStream(() => 0);
  readonly #known = new Map<string, string>();
  readonly #tree = new GrowingTree();

  constructor({ directory, ...options }: LongHistoryOptions) {
    super(options);
    mkdirSync(directory, { recursive: true });
    this.#directory = directory;
    this.#files = byStream((stream) => openSync(join(directory, `${stream}.ndjson`), "w"));
  }

  override keep(stream: KeptStream, { subject, payload, signature, ...rest }: Stored): void {
    const message = assembleMessage(stream, subject, payload, signature);
    const line = formatEntry({ seq: rest.seq, message: { ...message, ...rest } });
    this.#counts[stream] = rest.seq;
    if (stream === "THSM_REQ") this.#tree.append(leafOfMessage(message.hash));
    this.#pending[stream].push(line);
    this.#pendingBytes[stream] += line.length;
    if (this.#pendingBytes[stream] >= flushBytes) this.#flush(stream);
  }

  override shares(party: number, body: SignRequest): string[] {
    return body.inputs.map((input) =>
      this.#once(`${party} ${input}`, () => super.shares(party, withInput(body, input))),
    );
  }

  override signatures(body: SignRequest, quorum: readonly number[]): string[] {
    return body.inputs.map((input) =>
      this.#once(input, () => super.signatures(withInput(body, input), quorum)),
    );
  }

  /** Every node's, over all requests. */
  checkpoint(): void {
    const { name } = this.cluster;
    const { size } = this.#tree;
    const text = checkpointText({ origin: originOf(name), size, root: this.#tree.root() });
    for (const node of this.nodes) {
      const key = this.identity(node);
      const line = signCheckpoint(text, nodeNoteKey(name, node, key.publicKey), key);
      const note = formatNote({ text, signatures: [line] });
      const body = { version: 1, type: "checkpoint", node, size, note, time: this.time() };
      this.storeChained(node, "THSM_AUDIT", { kind: "node-checkpoint", node }, body);
    }
  }

  close(): void {
    for (const stream of keptStreams) {
      this.#flush(stream);
      closeSync(this.#files[stream]);
    }
    const bounds = byStream((stream) => {
      const last = this.#counts[stream];
      return { first: 1, settled: last, last };
    });
    writeFileSync(join(this.#directory, "bounds.json"), JSON.stringify(bounds));
  }

  #once(name: string, make: () => string[]): string {
    const known = this.#known.get(name) ?? make()[0] ?? "";
    this.#known.set(name, known);
    return known;
  }

  #flush(stream: KeptStream): void {
    writeSync(this.#files[stream], this.#pending[stream].join(""));
    this.#pending[stream] = [];
    this.#pendingBytes[stream] = 0;
  }
}

function withInput(body: SignRequest, input: string): SignRequest {
  return Object.assign(new SignRequest(), body, { inputs: [input] });
}
