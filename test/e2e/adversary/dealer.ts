/** @module A client process that deals, destroys and signs on demand, to be killed in the midst of it. */
import { connect } from "../../../src/client/index.js";
import { describeError } from "../../../src/errors.js";
import { fromBase64url, toBase64url } from "../../../src/identity/encoding.js";
import { silentLogger } from "../../../src/log.js";

export type ToDealer =
  | { readonly op: "deal" }
  | { readonly op: "destroy"; readonly key: string }
  | { readonly op: "sign"; readonly key: string; readonly digest: string };

export interface FromDealer {
  readonly key?: string;
  readonly signature?: string;
  readonly error?: string;
}

if (process.send !== undefined) {
  const client = await connect({
    configFile: process.env["THSM_CONFIG"] ?? "",
    log: silentLogger,
  });
  await client.unlock(process.env["THSM_PIN"] ?? "");
  client.prepareKey(1024);

  const handle = async (message: ToDealer): Promise<FromDealer> => {
    if (message.op === "deal") {
      const made = client.generateKey({ token: "dns", label: "crash", modulusBits: 1024 });
      const { keyId } = await made;
      client.prepareKey(1024);
      return { key: keyId };
    }
    if (message.op === "destroy") {
      await client.destroyKey(message.key, { waitMs: 1000 });
      return { key: message.key };
    }
    const session = await client.openSession("dns", "crash");
    const data = fromBase64url(message.digest, "digest");
    const what = { keyId: message.key, encoding: "pkcs1v15", hash: "sha256", data } as const;
    const signature = toBase64url(await session.sign(what, { timeoutMs: 25_000 }));
    await session.close();
    return { signature };
  };
  process.on("message", (message: ToDealer) => {
    handle(message)
      .catch((error: unknown) => ({ error: describeError(error) }))
      .then((answer: FromDealer) => process.send?.(answer))
      .catch(() => undefined);
  });
  process.on("disconnect", () => process.exit());
  process.send({});
}
