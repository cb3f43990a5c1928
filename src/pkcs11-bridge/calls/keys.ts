/** @module The list of objects, and the making of keys. */
import type { KeyInfo, KeyPolicy } from "../../client/index.js";
import { describeError } from "../../errors.js";
import { ckr } from "../ckr.js";
import { CkrError } from "../errors-to-ckr.js";
import type { KeyDirectory } from "../key-directory.js";
import { handlesOf } from "../objects.js";
import { Writer } from "../rpc/codec.js";
import { parsers, type Requests } from "../rpc/ops.js";
import {
  assertLoggedIn,
  assertToken,
  prepared,
  utf8,
  type CallContext,
  type Calls,
} from "./call.js";

const maxIdBytes = 255;
const maxLabelCharacters = 64;

/** `signing`: where the keys that applications generate to sign differ from the client's default policy. */
export function keyCalls(
  directory: KeyDirectory,
  signing: Partial<KeyPolicy>,
): Calls<"keys" | "generate"> {
  /** Key generations under way by operation id: a resent request joins the first one. */
  const generations = new Map<string, Promise<KeyInfo>>();

  async function generate(request: Requests["generate"], context: CallContext): Promise<KeyInfo> {
    const { application, client, options } = context;
    const operation = `${request.token}/${Buffer.from(request.operationId).toString("hex")}`;
    let generation = generations.get(operation);
    if (generation === undefined) {
      const { token, id, modulusBits, operationId, decrypts } = request;
      if (id.length < 1 || id.length > maxIdBytes) {
        throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, "CKA_ID must be 1 to 255 bytes");
      }
      const label = labelText(request.label, id);
      application.log.info({ token, modulusBits, decrypts }, "key generation started");
      const policy: Partial<KeyPolicy> = decrypts ? { encodings: ["decrypt"] } : signing;
      const wish = { token, label, id, modulusBits, operationId, policy };
      generation = client.generateKey({ ...options, ...wish });
      generations.set(operation, generation);
      void report(generation, request, context).finally(() => generations.delete(operation));
    }
    return await generation;
  }

  return {
    keys: prepared(parsers.keys, async ({ token, known, first }, { client, options }) => {
      assertToken(client, token);
      return await directory.page(client, token, known, first, options);
    }),

    generate: prepared(parsers.generate, async (request, context) => {
      assertLoggedIn(context, request.token);
      const key = await generate(request, context);
      const { publicKey, privateKey } = handlesOf(key.keyId);
      return new Writer().u64(publicKey).u64(privateKey).finish();
    }),
  };
}

async function report(
  generation: Promise<KeyInfo>,
  { token, modulusBits }: Requests["generate"],
  { application, client }: CallContext,
): Promise<void> {
  try {
    const { keyId } = await generation;
    application.log.info({ token, key: keyId, modulusBits }, "key generated");
    // The next wish finds its primes ready.
    client.prepareKey(modulusBits);
  } catch (error) {
    application.log.warn({ token, reason: describeError(error) }, "key not generated");
  }
}

/** Keys need a name for people; Knot gives none, so the id stands in, as OpenDNSSEC would have it. */
function labelText(label: Uint8Array, id: Uint8Array): string {
  if (label.length === 0) return Buffer.from(id).toString("hex").slice(0, maxLabelCharacters);
  const text = utf8(label);
  if (text === undefined) throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, "CKA_LABEL is not UTF-8");
  return text;
}
