/** @module What the daemon does for each call. The bodies of replies are in docs/pkcs11-protocol.md. */
import { hashes } from "../client/index.js";
import type { Applications } from "./application.js";
import type { Call, Calls } from "./calls/call.js";
import { cryptoCalls } from "./calls/crypto.js";
import { keyCalls } from "./calls/keys.js";
import { loginCalls } from "./calls/login.js";
import { objectCalls } from "./calls/objects.js";
import type { KeyDirectory } from "./key-directory.js";
import type { OpName } from "./rpc/ops.js";

export class Handler {
  readonly #calls: Calls<OpName>;

  constructor(applications: Applications, directory: KeyDirectory, allowSha1: boolean) {
    this.#calls = {
      ...loginCalls(applications),
      ...cryptoCalls(directory),
      ...objectCalls(directory),
      ...keyCalls(directory, allowSha1 ? { hashes } : {}),
    };
  }

  /**
   * Reads the body at once and starts the call; its promise is the body of the reply.
   * @throws HsmError `ERR_INVALID_MESSAGE`, synchronously, for a body that is none.
   */
  prepare(name: OpName, body: Uint8Array): Call {
    return this.#calls[name](body);
  }
}
