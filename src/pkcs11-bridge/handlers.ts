/** @module What the daemon does for each call. The bodies of replies are in docs/pkcs11-protocol.md. */
import {
  hashes,
  verifySignature,
  type CallOptions,
  type HsmClient,
  type KeyInfo,
  type KeyPolicy,
} from "../client/index.js";
import { describeError, HsmError } from "../errors.js";
import type { Application, Applications } from "./application.js";
import { ckr } from "./ckr.js";
import { CkrError } from "./errors-to-ckr.js";
import type { KeyDirectory, KeyReference } from "./key-directory.js";
import { toSignInput } from "./mechanisms.js";
import { handlesOf } from "./objects.js";
import { Reader, Writer } from "./rpc/codec.js";
import { parsers, type OpName, type Requests } from "./rpc/ops.js";

const maxIdBytes = 255;
const maxLabelCharacters = 64;
const noBody = Buffer.alloc(0);
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whose call it is, and what it may use. */
export interface CallContext {
  readonly application: Application;
  readonly client: HsmClient;
  readonly options: CallOptions & { readonly timeoutMs: number };
}

/** A call whose request has been read and found well formed. */
export type Call = (context: CallContext) => Promise<Uint8Array>;
type Prepare = (body: Uint8Array) => Call;

export class Handler {
  readonly #applications: Applications;
  readonly #directory: KeyDirectory;
  /** Key generations under way by operation id: a resent request joins the first one. */
  readonly #generations = new Map<string, Promise<KeyInfo>>();

  /** Where the keys that applications generate differ from the client's default policy. */
  readonly #policy: Partial<KeyPolicy>;

  constructor(applications: Applications, directory: KeyDirectory, allowSha1: boolean) {
    this.#applications = applications;
    this.#directory = directory;
    this.#policy = allowSha1 ? { hashes } : {};
  }

  /**
   * Reads the body at once and starts the call; its promise is the body of the reply.
   * @throws HsmError `ERR_INVALID_MESSAGE`, synchronously, for a body that is none.
   */
  prepare(name: OpName, body: Uint8Array): Call {
    return this.#calls[name](body);
  }

  readonly #calls: Readonly<Record<OpName, Prepare>> = {
    login: prepared(parsers.login, async ({ token, pin }, { application, client }) => {
      assertToken(client, token);
      const ticket = await this.#logIn(application, client, token, () =>
        client.unlock(pinText(pin)),
      );
      return new Writer().bytes(ticket).finish();
    }),

    resume: prepared(parsers.resume, async ({ token, ticket }, { application, client }) => {
      assertToken(client, token);
      await this.#logIn(application, client, token, () => client.unlockWithTicket(ticket));
      return noBody;
    }),

    logout: prepared(parsers.logout, async ({ token }, { application, client }) => {
      if (application.logins.delete(token)) application.log.info({ token }, "logged out");
      this.#applications.lockIfUnused(client);
      return noBody;
    }),

    keys: prepared(parsers.keys, async ({ token, known, first }, { client, options }) => {
      assertToken(client, token);
      return this.#directory.page(client, token, known, first, options);
    }),

    sign: prepared(parsers.sign, async ({ token, handle, input }, context) => {
      const { application, client, options } = context;
      const { key, half } = await this.#ownKey(token, handle, context, ckr.KEY_HANDLE_INVALID);
      if (half !== "private") throw new CkrError(ckr.KEY_HANDLE_INVALID, "not a private key");
      const session = await application.session(client, token);
      const signature = await session.sign(
        toSignInput(key.keyId, key.modulus.length, input),
        options,
      );
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

    generate: prepared(parsers.generate, async (request, context) => {
      assertLoggedIn(context.application, context.client, request.token);
      const key = await this.#generate(request, context);
      const { publicKey, privateKey } = handlesOf(key.keyId);
      return new Writer().u64(publicKey).u64(privateKey).finish();
    }),

    destroy: prepared(parsers.destroy, async ({ token, handle }, context) => {
      const { key, half } = await this.#ownKey(token, handle, context, ckr.OBJECT_HANDLE_INVALID);
      if (half !== "private") throw new CkrError(ckr.ACTION_PROHIBITED, "destroy the private key");
      const { erased, pending } = await context.client.destroyKey(key.keyId, context.options);
      context.application.log.info({ token, key: key.keyId, erased, pending }, "key destroyed");
      return noBody;
    }),
  };

  async #logIn<Result>(
    application: Application,
    client: HsmClient,
    token: string,
    unlock: () => Promise<Result>,
  ): Promise<Result> {
    application.pendingLogins++;
    try {
      const result = await unlock();
      // The application may have gone while the key was derived.
      if (application.sockets > 0) application.logins.add(token);
      application.log.info({ token }, "logged in");
      return result;
    } finally {
      application.pendingLogins--;
      this.#applications.lockIfUnused(client);
    }
  }

  async #ownKey(
    token: string,
    handle: bigint,
    { application, client, options }: CallContext,
    missing: number,
  ): Promise<KeyReference> {
    assertLoggedIn(application, client, token);
    const reference = await this.#directory.find(client, token, handle, options);
    if (reference === undefined) throw new CkrError(missing, "no such key");
    return reference;
  }

  async #generate(request: Requests["generate"], context: CallContext): Promise<KeyInfo> {
    const { application, client, options } = context;
    const operation = `${request.token}/${Buffer.from(request.operationId).toString("hex")}`;
    let generation = this.#generations.get(operation);
    if (generation === undefined) {
      const { token, id, modulusBits, operationId } = request;
      if (id.length < 1 || id.length > maxIdBytes) {
        throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, "CKA_ID must be 1 to 255 bytes");
      }
      const label = labelText(request.label, id);
      application.log.info({ token, modulusBits }, "key generation started");
      const policy = this.#policy;
      const wish = { token, label, id, modulusBits, operationId, policy };
      generation = client.generateKey({ ...options, ...wish });
      this.#generations.set(operation, generation);
      void this.#report(generation, request, context).finally(() =>
        this.#generations.delete(operation),
      );
    }
    return generation;
  }

  async #report(
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
}

/** Joins the two halves of a call, so that a malformed body is found before anything is done. */
function prepared<Request>(
  parse: (reader: Reader) => Request,
  run: (request: Request, context: CallContext) => Promise<Uint8Array>,
): Prepare {
  return (body) => {
    const reader = new Reader(body);
    const request = parse(reader);
    reader.end();
    return (context) => run(request, context);
  };
}

function assertToken(client: HsmClient, token: string): void {
  if (client.tokens.includes(token)) return;
  throw new CkrError(ckr.TOKEN_NOT_RECOGNIZED, `this client has no token ${JSON.stringify(token)}`);
}

function assertLoggedIn(application: Application, client: HsmClient, token: string): void {
  assertToken(client, token);
  if (!application.logins.has(token)) {
    throw new HsmError("ERR_NOT_LOGGED_IN", `${application.name} is not logged in`);
  }
}

function pinText(pin: Uint8Array): string {
  try {
    return strictUtf8.decode(pin);
  } catch {
    throw new HsmError("ERR_WRONG_PIN", "PIN is not UTF-8");
  }
}

/** Keys need a name for people; Knot gives none, so the id stands in, as OpenDNSSEC would have it. */
function labelText(label: Uint8Array, id: Uint8Array): string {
  if (label.length === 0) return Buffer.from(id).toString("hex").slice(0, maxLabelCharacters);
  try {
    return strictUtf8.decode(label);
  } catch {
    throw new CkrError(ckr.ATTRIBUTE_VALUE_INVALID, "CKA_LABEL is not UTF-8");
  }
}
