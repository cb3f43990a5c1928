/** @module What a client does with the objects of its tokens, and with the names of its keys. */
import { createHash, randomBytes } from "node:crypto";
import { HsmError } from "../errors.js";
import { fromBase64url, fromHex, toBase64url, toHex } from "../identity/encoding.js";
import { formatVersion } from "../streams/fields.js";
import type { KeyRecord } from "../streams/key-life.js";
import { KeyRelabelled } from "../streams/keys.js";
import { ObjectRelabelled, ObjectStored } from "../streams/objects.js";
import { formatSubject, streamNames } from "../streams/subjects.js";
import { maxObjects } from "../streams/token-objects.js";
import { validated } from "../validate.js";
import type { CallOptions, Names, StoreObjectOptions, TokenObject } from "./api.js";
import type { Bus } from "./bus.js";
import { decide, publishSigned } from "./key-decisions.js";

const fields = ["subject", "issuer", "serialNumber", "application", "objectId"] as const;
const code = "ERR_INVALID_ARGUMENT";

export function objectOf(event: ObjectStored): TokenObject {
  const { object: objectId, token, label, id, value } = event;
  const kind = event.class;
  const bytes = fields.flatMap((name) => {
    const text = event[name];
    return text === undefined ? [] : [[name, fromBase64url(text, name)] as const];
  });
  return {
    objectId,
    token,
    kind,
    label,
    id: id === "" ? new Uint8Array(0) : fromHex(id, "id"),
    value: fromBase64url(value, "value"),
    fields: Object.fromEntries(bytes),
  };
}

/** Stores an object, or finds the one that the same wish has stored before. */
export async function storeObject(
  bus: Bus,
  client: string,
  options: StoreObjectOptions,
): Promise<TokenObject> {
  const { token, kind, label, id, value, operationId = randomBytes(16) } = options;
  const object = createHash("sha256")
    .update(`thsm/v1 object\0${client}\0${toHex(operationId)}`)
    .digest("hex")
    .slice(0, 32);
  const bytes = fields.flatMap((name) => {
    const given = options.fields?.[name];
    return given === undefined || given.length === 0 ? [] : [[name, toBase64url(given)] as const];
  });
  const body = {
    ...head(client, token, object, "object-stored"),
    class: kind,
    label,
    id: toHex(id),
    value: toBase64url(value),
    ...Object.fromEntries(bytes),
  };
  validated(ObjectStored, body, code);
  await bus.keys.catchUp();
  const known = bus.keys.objects.get(object);
  if (known !== undefined) return objectOf(known);
  if (bus.keys.objects.of(token).length >= maxObjects) {
    throw new HsmError("ERR_STREAM_FULL", `token ${token} holds ${maxObjects} objects already`);
  }
  await publish(bus, token, client, body, options);
  const stored = bus.keys.objects.get(object);
  if (stored === undefined) throw new HsmError("ERR_CONFLICT", "the object was removed meanwhile");
  return objectOf(stored);
}

export async function removeObject(
  bus: Bus,
  client: string,
  { object, token }: ObjectStored,
  options: CallOptions,
): Promise<void> {
  await publish(bus, token, client, head(client, token, object, "object-removed"), options);
}

export async function relabelObject(
  bus: Bus,
  client: string,
  { object, token }: ObjectStored,
  names: Names,
  options: CallOptions,
): Promise<void> {
  const body = { ...head(client, token, object, "object-relabelled"), ...namesOf(names) };
  validated(ObjectRelabelled, body, code);
  await publish(bus, token, client, body, options);
}

export async function relabelKey(
  bus: Bus,
  client: string,
  record: KeyRecord,
  names: Names,
  options: CallOptions,
): Promise<void> {
  const event = { type: "relabelled", ...namesOf(names) } as const;
  const time = new Date().toISOString();
  const { keyId: key, proposalHash: proposal } = record;
  validated(KeyRelabelled, { version: formatVersion, key, client, proposal, time, ...event }, code);
  await decide(bus, client, record, event, options);
  await bus.keys.catchUp();
}

function namesOf({ label, id }: Names): { label?: string; id?: string } {
  return {
    ...(label === undefined ? {} : { label }),
    ...(id === undefined ? {} : { id: toHex(id) }),
  };
}

function head(client: string, token: string, object: string, type: string) {
  const time = new Date().toISOString();
  return { version: formatVersion, type, object, client, token, time };
}

async function publish(
  bus: Bus,
  token: string,
  client: string,
  body: { readonly object: string },
  options: CallOptions,
): Promise<void> {
  const subject = formatSubject({ kind: "object", client, token, object: body.object });
  await publishSigned(bus, streamNames.keys, subject, body, options);
  await bus.keys.catchUp();
}
