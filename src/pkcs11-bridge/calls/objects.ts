/** @module Objects on the token: storing certificates and data, other names, and the end of anything. */
import type { CallOptions, HsmClient, Names, ObjectFields } from "../../client/index.js";
import { cka, cko, ckr } from "../ckr.js";
import { CkrError } from "../errors-to-ckr.js";
import type { KeyDirectory, Reference } from "../key-directory.js";
import { handleOf } from "../objects.js";
import { Writer } from "../rpc/codec.js";
import { parsers } from "../rpc/ops.js";
import {
  assertLoggedIn,
  assertToken,
  noBody,
  prepared,
  utf8,
  type CallContext,
  type Calls,
} from "./call.js";

const fieldOf: ReadonlyMap<number, keyof ObjectFields> = new Map<number, keyof ObjectFields>([
  [cka.SUBJECT, "subject"],
  [cka.ISSUER, "issuer"],
  [cka.SERIAL_NUMBER, "serialNumber"],
  [cka.APPLICATION, "application"],
  [cka.OBJECT_ID, "objectId"],
]);

export function objectCalls(
  directory: KeyDirectory,
): Calls<"relabel" | "store" | "destroy" | "note"> {
  async function find(token: string, handle: bigint, context: CallContext): Promise<Reference> {
    assertLoggedIn(context, token);
    const found = await directory.find(context.client, token, handle, context.options);
    if (found === undefined) throw new CkrError(ckr.OBJECT_HANDLE_INVALID, "no such object");
    return found;
  }

  return {
    relabel: prepared(parsers.relabel, async ({ token, handle, label, id }, context) => {
      const found = await find(token, handle, context);
      const names = {
        ...(label === undefined ? {} : { label: labelText(label) }),
        ...(id === undefined ? {} : { id }),
      };
      if (isCalled(found.half === "neither" ? found.object : found.key, names)) return noBody;
      await rename(context.client, found, names, context.options);
      context.application.log.info({ token, handle: handle.toString(16) }, "object relabelled");
      return noBody;
    }),

    store: prepared(parsers.store, async (request, context) => {
      const { token, operationId, objectClass, attributes } = request;
      assertLoggedIn(context, token);
      if (objectClass !== cko.CERTIFICATE && objectClass !== cko.DATA) {
        throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, `class ${objectClass} is not stored here`);
      }
      const fields: Record<string, Uint8Array> = {};
      for (const [type, value] of attributes) {
        const name = fieldOf.get(type);
        if (name !== undefined) fields[name] = value;
      }
      const nothing = new Uint8Array(0);
      const object = await context.client.storeObject({
        ...context.options,
        token,
        operationId,
        kind: objectClass === cko.DATA ? "data" : "certificate",
        label: labelText(attributes.get(cka.LABEL) ?? nothing),
        id: attributes.get(cka.ID) ?? nothing,
        value: attributes.get(cka.VALUE) ?? nothing,
        fields,
      });
      const { objectId, kind, label } = object;
      context.application.log.info({ token, object: objectId, kind, label }, "object stored");
      return new Writer().u64(handleOf(object)).finish();
    }),

    destroy: prepared(parsers.destroy, async ({ token, handle }, context) => {
      const { client, options, application } = context;
      const found = await find(token, handle, context);
      if (found.half === "neither") {
        const { objectId } = found.object;
        await client.removeObject(objectId, options);
        application.log.info({ token, object: objectId }, "object removed");
        return noBody;
      }
      const { key, half } = found;
      if (half !== "private") throw new CkrError(ckr.ACTION_PROHIBITED, "destroy the private key");
      const { erased, pending } = await client.destroyKey(key.keyId, options);
      application.log.info({ token, key: key.keyId, erased, pending }, "key destroyed");
      return noBody;
    }),

    note: prepared(parsers.note, async ({ token, what }, { application, client }) => {
      assertToken(client, token);
      application.log.warn({ token, reason: notes[what] ?? "unknown" }, "refused by the module");
      return noBody;
    }),
  };
}

/** Why a module has refused something by itself, in words for the operator. */
const notes: readonly string[] = [
  "",
  "a private key was to be imported: keys of this token are made in shares and are whole nowhere; generate one",
];

async function rename(
  client: HsmClient,
  found: Reference,
  names: Names,
  options: CallOptions,
): Promise<void> {
  if (found.half === "neither") await client.relabelObject(found.object.objectId, names, options);
  else await client.relabelKey(found.key.keyId, names, options);
}

/** Both halves of a key have one name, so that a program that changes each says everything twice. */
function isCalled(now: Required<Names>, { label = now.label, id = now.id }: Names): boolean {
  return label === now.label && Buffer.compare(id, now.id) === 0;
}

function labelText(label: Uint8Array): string {
  const text = utf8(label);
  if (text === undefined) throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, "CKA_LABEL is not UTF-8");
  return text;
}
