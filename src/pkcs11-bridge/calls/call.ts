/** @module What a call is: a request that was read whole, and the right to make it. */
import type { CallOptions, HsmClient } from "../../client/index.js";
import { HsmError } from "../../errors.js";
import type { Application } from "../application.js";
import { ckr } from "../ckr.js";
import { CkrError } from "../errors-to-ckr.js";
import { Reader } from "../rpc/codec.js";
import type { OpName } from "../rpc/ops.js";

/** Whose call it is, and what it may use. */
export interface CallContext {
  readonly application: Application;
  readonly client: HsmClient;
  readonly options: CallOptions & { readonly timeoutMs: number };
}

/** A call whose request has been read and found well formed. */
export type Call = (context: CallContext) => Promise<Uint8Array>;
export type Prepare = (body: Uint8Array) => Call;
export type Calls<Name extends OpName> = Readonly<Record<Name, Prepare>>;

export const noBody: Uint8Array = new Uint8Array(0);

/** Joins the two halves of a call, so that a malformed body is found before anything is done. */
export function prepared<Request>(
  parse: (reader: Reader) => Request,
  run: (request: Request, context: CallContext) => Promise<Uint8Array>,
): Prepare {
  return (body) => {
    const reader = new Reader(body);
    let request: Request;
    try {
      request = parse(reader);
    } catch (error) {
      // A body that can be read and asks for what does not exist: that is answered.
      if (error instanceof CkrError) return () => Promise.reject(error);
      throw error;
    }
    reader.end();
    return (context) => run(request, context);
  };
}

/** @throws CkrError TOKEN_NOT_RECOGNIZED */
export function assertToken(client: HsmClient, token: string): void {
  if (client.tokens.includes(token)) return;
  throw new CkrError(ckr.TOKEN_NOT_RECOGNIZED, `this client has no token ${JSON.stringify(token)}`);
}

/** @throws CkrError TOKEN_NOT_RECOGNIZED, HsmError `ERR_NOT_LOGGED_IN` */
export function assertLoggedIn({ application, client }: CallContext, token: string): void {
  assertToken(client, token);
  if (!application.logins.has(token)) {
    throw new HsmError("ERR_NOT_LOGGED_IN", `${application.name} is not logged in`);
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text, or undefined for bytes that are no UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}
