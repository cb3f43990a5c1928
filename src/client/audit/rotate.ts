/**
 * @module Room in full streams: what has been exported is let go, oldest first. The streams stay what they are,
 * with their numbers, so that nodes and clients notice nothing. What is let go can be told apart from what was
 * stolen: it is in the export, and the operator signs for it.
 *
 * Streams refuse purge and deletion. What is left is a smaller limit for a moment (`max_msgs`, `discard: old`),
 * for which the provisioner needs a permission that it has not by default.
 */
import {
  DiscardPolicy,
  jetstreamManager,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import { describeError, HsmError } from "../../errors.js";
import type { Rotated } from "../../streams/audit-events.js";
import { formatVersion } from "../../streams/fields.js";
import { readAuditEvent, verifySender } from "../../streams/open.js";
import { formatSubject, streamNames } from "../../streams/subjects.js";
import type { Operator } from "../operator.js";
import type { Cut, RotatedStream } from "./cuts.js";

/** What is done to the streams, step by step. */
export type RotationStep =
  | { readonly type: "recorded"; readonly seq: number }
  /** The server takes the stream's old entries away; until it is "let-go" it would do so with more. */
  | { readonly type: "shrunk"; readonly stream: RotatedStream }
  | ({ readonly type: "let-go"; readonly first: number; readonly dropped: number } & Cut);

/**
 * Records that these entries go, as the operator's word, and lets them go. May be done again after any
 * interruption. `manifest`: SHA-256 of the export's; `connection`: the provisioner's.
 * @throws HsmError `ERR_BROKER` when the server refuses, `ERR_AUDIT_MISMATCH` when more is gone than was exported
 */
export async function* rotate(
  cuts: readonly Cut[],
  manifest: string,
  operator: Operator,
  connection: NatsConnection,
): AsyncGenerator<RotationStep> {
  // Nothing is said that then is not allowed.
  for (const cut of cuts) await makeUsual(connection, cut.stream);
  const going = cuts.filter(({ upTo }) => upTo > 0);
  const said = going.map(({ stream, upTo, exported }) => `${stream} ${upTo} ${exported}`);
  const ofAudit = cuts.filter(({ stream }) => stream === streamNames.audit);
  let rest = cuts;
  if (said.length > 0) {
    try {
      yield { type: "recorded", seq: await record(operator, said, manifest) };
    } catch (error) {
      if (!(error instanceof HsmError && error.code === "ERR_STREAM_FULL")) throw error;
      // No room even for that.
      for (const cut of ofAudit) yield* cutStream(connection, cut);
      rest = cuts.filter((cut) => !ofAudit.includes(cut));
      yield { type: "recorded", seq: await record(operator, said, manifest) };
    }
  }
  for (const cut of rest) yield* cutStream(connection, cut);
}

/** A rotation that goes on where it was interrupted has said so already. */
async function record(operator: Operator, letGo: string[], manifest: string): Promise<number> {
  const { name, say } = operator;
  const subject = { kind: "operator-audit", operator: name } as const;
  const body = { version: formatVersion, type: "rotated", operator: name, letGo, manifest };
  const said = await lastSaid(operator, formatSubject(subject), body);
  if (said !== undefined) return said;
  return (await say(subject, { ...body, time: new Date().toISOString() })).seq;
}

/** Where the operator's newest word stands, if it says the same. */
async function lastSaid(
  { cluster, reader }: Operator,
  subject: string,
  { letGo, manifest }: Pick<Rotated, "letGo" | "manifest">,
): Promise<number | undefined> {
  const message = await reader.last(streamNames.audit, subject);
  if (message === undefined) return undefined;
  try {
    const body = readAuditEvent(message);
    if (body?.type !== "rotated") return undefined;
    verifySender(cluster, message, body, "operator");
    const isSame = body.manifest === manifest && body.letGo.join() === letGo.join();
    return isSame ? message.seq : undefined;
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}

async function* cutStream(connection: NatsConnection, cut: Cut): AsyncGenerator<RotationStep> {
  const { stream, upTo, exported } = cut;
  const { first_seq: first, last_seq: last } = (await infoOf(connection, stream)).state;
  if (upTo >= first && last - upTo > 0) {
    const brief = { discard: DiscardPolicy.Old, discard_new_per_subject: false };
    try {
      await update(connection, stream, { ...brief, max_msgs: last - upTo });
      yield { type: "shrunk", stream };
    } finally {
      await makeUsual(connection, stream);
    }
  }
  const { state } = await infoOf(connection, stream);
  if (state.first_seq > exported + 1) {
    const text = `${stream} begins at ${state.first_seq}, the export ends at ${exported}: entries between them are lost`;
    throw new HsmError("ERR_AUDIT_MISMATCH", text);
  }
  const dropped = Math.max(0, state.first_seq - first);
  yield { type: "let-go", ...cut, first: state.first_seq, dropped };
}

/** As streams are, whatever an interrupted rotation has left. */
async function makeUsual(connection: NatsConnection, stream: RotatedStream): Promise<void> {
  const { config } = await infoOf(connection, stream);
  await update(connection, stream, {
    discard: DiscardPolicy.New,
    max_msgs: -1,
    discard_new_per_subject: config.max_msgs_per_subject === 1,
  });
}

async function infoOf(connection: NatsConnection, stream: RotatedStream): Promise<StreamInfo> {
  return await attempt(stream, async () => (await managerOf(connection)).streams.info(stream));
}

async function update(
  connection: NatsConnection,
  stream: RotatedStream,
  config: Partial<StreamConfig>,
): Promise<void> {
  await attempt(stream, async () => (await managerOf(connection)).streams.update(stream, config));
}

async function attempt<T>(stream: RotatedStream, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const reason = describeError(cause);
    const advice = /permission/i.test(reason)
      ? `; for the time of this command add "$JS.API.STREAM.UPDATE.${stream}" to what the provisioner may publish in server.conf, and reload the servers`
      : "";
    throw new HsmError("ERR_BROKER", `cannot change ${stream}: ${reason}${advice}`, { cause });
  }
}

async function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
}
