/** @module What a client decides about a key, as signed events on THSM_KEY. */
import { describeError } from "../errors.js";
import { signMessage } from "../streams/envelope.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import type { KeyAbandoned, KeyActivated, KeyDestroyed, KeyRelabelled } from "../streams/keys.js";
import type { PublishOptions } from "../streams/publish.js";
import { formatSubject, streamNames, type StreamName } from "../streams/subjects.js";
import type { Bus } from "./bus.js";

type Decided<T> = Omit<T, "version" | "key" | "client" | "proposal" | "time">;

/** Publishes; resolves with the message's hash when it is stored. */
export async function publishSigned(
  bus: Bus,
  stream: StreamName,
  subject: string,
  body: object,
  options?: PublishOptions,
): Promise<string> {
  const message = signMessage(bus.identity.require(), stream, subject, body);
  await bus.publisher.publish(message, options);
  return message.hash;
}

/** Resolves when the decision is stored; whether it counts, the stream's order tells. */
export async function decide(
  bus: Bus,
  client: string,
  { keyId, proposalHash }: Pick<KeyRecord, "keyId" | "proposalHash">,
  event:
    Decided<KeyActivated> | Decided<KeyAbandoned> | Decided<KeyDestroyed> | Decided<KeyRelabelled>,
  options?: PublishOptions,
): Promise<void> {
  const body = {
    version: formatVersion,
    key: keyId,
    client,
    proposal: proposalHash,
    ...event,
    time: new Date().toISOString(),
  };
  await publishSigned(bus, streamNames.keys, keySubject(keyId), body, options);
}

/** Tells the nodes to erase what they have of a key that will never be active. */
export async function abandon(
  bus: Bus,
  client: string,
  key: Pick<KeyRecord, "keyId" | "proposalHash">,
  reason: string,
): Promise<void> {
  try {
    await decide(bus, client, key, { type: "abandoned", reason: reason.slice(0, 400) });
  } catch (error) {
    // Nodes erase by themselves, and any client of the token abandons it, once it has expired.
    bus.log.error({ key: key.keyId, error: describeError(error) }, "cannot abandon the key");
  }
}

export function keySubject(key: string): string {
  return formatSubject({ kind: "key", key });
}
