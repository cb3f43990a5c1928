/** @module Signing and decrypting with the nodes; verifying and encrypting here, with public keys alone. */
import { encryptTo, verifySignature } from "../../client/index.js";
import type { KeyInfo } from "../../client/index.js";
import { ckr } from "../ckr.js";
import { CkrError } from "../errors-to-ckr.js";
import type { KeyDirectory } from "../key-directory.js";
import { toPadding, toSignInput } from "../mechanisms.js";
import { Writer } from "../rpc/codec.js";
import { parsers } from "../rpc/ops.js";
import { assertLoggedIn, noBody, prepared, type CallContext, type Calls } from "./call.js";

export function cryptoCalls(
  directory: KeyDirectory,
): Calls<"sign" | "verify" | "decrypt" | "encrypt"> {
  async function privateKey(token: string, handle: bigint, context: CallContext): Promise<KeyInfo> {
    assertLoggedIn(context, token);
    const found = await directory.find(context.client, token, handle, context.options);
    if (found?.half === "private") return found.key;
    throw new CkrError(ckr.KEY_HANDLE_INVALID, "no such private key");
  }

  return {
    sign: prepared(parsers.sign, async ({ token, handle, input }, context) => {
      const { application, client, options } = context;
      const { keyId, modulus } = await privateKey(token, handle, context);
      const session = await application.session(client, token);
      const signature = await session.sign(toSignInput(keyId, modulus.length, input), options);
      return new Writer().bytes(signature).finish();
    }),

    verify: prepared(parsers.verify, async ({ modulus, publicExponent, input, signature }) => {
      const key = { modulus, modulusBits: modulus.length * 8, publicExponent };
      const signed = toSignInput("", modulus.length, input);
      if (!verifySignature(key, signed, signature)) {
        throw new CkrError(ckr.SIGNATURE_INVALID, "signature is wrong");
      }
      return noBody;
    }),

    decrypt: prepared(parsers.decrypt, async ({ token, handle, input }, context) => {
      const { application, client, options } = context;
      const { keyId } = await privateKey(token, handle, context);
      const session = await application.session(client, token);
      const padding = toPadding(input);
      const message = await session.decrypt({ keyId, ...padding, ciphertext: input.data }, options);
      const body = new Writer().bytes(message).finish();
      message.fill(0);
      return body;
    }),

    encrypt: prepared(parsers.encrypt, async ({ modulus, publicExponent, input }) => {
      const key = { modulus, modulusBits: modulus.length * 8, publicExponent };
      return new Writer().bytes(encryptTo(key, toPadding(input), input.data)).finish();
    }),
  };
}
