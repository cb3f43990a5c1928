/** @module The client's key lists, indexed by object handle. */
import { randomBytes } from "node:crypto";
import type { CallOptions, HsmClient, KeyInfo } from "../client/index.js";
import { handlesOf, privateObject, publicObject } from "./objects.js";
import { Writer } from "./rpc/codec.js";

/** A page of a KEYS reply stays far below the frame limit. */
const pageBytes = 256 * 1024;

/** Which half of which key a handle means. */
export interface KeyReference {
  readonly key: KeyInfo;
  readonly half: "public" | "private";
}

interface Listing {
  readonly revision: number;
  readonly keys: readonly KeyInfo[];
  readonly byHandle: ReadonlyMap<bigint, KeyReference>;
}

/** Key lists by token. Reading the same list again costs nothing while the directory is unchanged. */
export class KeyDirectory {
  // The client's revisions begin anew with each process; together with this they never repeat.
  readonly #boot: Buffer = randomBytes(8);
  readonly #listings = new Map<string, Listing>();

  async find(
    client: HsmClient,
    token: string,
    handle: bigint,
    options: CallOptions,
  ): Promise<KeyReference | undefined> {
    return (await this.#listing(client, token, options)).byHandle.get(handle);
  }

  /**
   * The body of a KEYS reply: objects from number `first` on, as many as fit a page; or only the
   * word that `known` is still right.
   */
  async page(
    client: HsmClient,
    token: string,
    known: Uint8Array,
    first: number,
    options: CallOptions,
  ): Promise<Buffer> {
    const { revision, keys } = await this.#listing(client, token, options);
    const current = new Writer().fixed(this.#boot).u64(BigInt(revision)).finish();
    if (current.equals(known)) return new Writer().fixed(current).u8(0).finish();

    const total = 2 * keys.length;
    const objects = new Writer();
    let next = first;
    for (; next < total && objects.size < pageBytes; next++) {
      const key = keys[next >> 1];
      if (key === undefined) break;
      objects.fixed(next % 2 === 0 ? publicObject(key) : privateObject(key));
    }
    const count = Math.max(0, next - first);
    return new Writer().fixed(current).u8(1).u32(total).u16(count).fixed(objects.finish()).finish();
  }

  async #listing(client: HsmClient, token: string, options: CallOptions): Promise<Listing> {
    const cached = this.#listings.get(token);
    if (cached !== undefined && cached.revision === client.keysRevision) return cached;
    // Read before the list: a change in between makes this listing old, never wrongly new.
    const revision = client.keysRevision;
    const keys = await client.keys(token, options);
    const byHandle = new Map<bigint, KeyReference>();
    for (const key of keys) {
      const { publicKey, privateKey } = handlesOf(key.keyId);
      byHandle.set(publicKey, { key, half: "public" });
      byHandle.set(privateKey, { key, half: "private" });
    }
    const listing = { revision, keys, byHandle };
    this.#listings.set(token, listing);
    return listing;
  }
}
