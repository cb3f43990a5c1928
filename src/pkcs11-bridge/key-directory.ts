/** @module The client's key lists, indexed by object handle. */
import { randomBytes } from "node:crypto";
import type { CallOptions, HsmClient, KeyInfo, TokenObject } from "../client/index.js";
import { handleOf, handlesOf, privateObject, publicObject, storedObject } from "./objects.js";
import { Writer } from "./rpc/codec.js";

/** A page of a KEYS reply stays far below the frame limit. */
const pageBytes = 256 * 1024;

/** What a handle means: half of a key, or another object. */
export type Reference =
  | { readonly half: "public" | "private"; readonly key: KeyInfo }
  | { readonly half: "neither"; readonly object: TokenObject };

interface Listing {
  readonly revision: number;
  /** Every object, written for a KEYS reply. */
  readonly objects: readonly Buffer[];
  readonly byHandle: ReadonlyMap<bigint, Reference>;
}

/** Key lists by token. Reading the same list again costs nothing while the directory is unchanged. */
export class KeyDirectory {
  // The client's revisions begin anew with each process; together with this they never repeat.
  readonly #boot: Buffer = randomBytes(8);
  readonly #listings = new Map<string, Listing>();
  /** Both halves of keys that were written before: keys are many, and change seldom. */
  readonly #written = new WeakMap<KeyInfo, readonly Buffer[]>();

  async find(
    client: HsmClient,
    token: string,
    handle: bigint,
    options: CallOptions,
  ): Promise<Reference | undefined> {
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
    const { revision, objects } = await this.#listing(client, token, options);
    const current = new Writer().fixed(this.#boot).u64(BigInt(revision)).finish();
    if (current.equals(known)) return new Writer().fixed(current).u8(0).finish();

    const page = new Writer();
    let count = 0;
    for (const object of objects.slice(first)) {
      if (page.size >= pageBytes) break;
      page.fixed(object);
      count++;
    }
    const head = new Writer().fixed(current).u8(1).u32(objects.length).u16(count);
    return head.fixed(page.finish()).finish();
  }

  #write(key: KeyInfo): readonly Buffer[] {
    const known = this.#written.get(key);
    if (known !== undefined) return known;
    const written = [publicObject(key), privateObject(key)];
    this.#written.set(key, written);
    return written;
  }

  async #listing(client: HsmClient, token: string, options: CallOptions): Promise<Listing> {
    const cached = this.#listings.get(token);
    if (cached !== undefined && cached.revision === client.keysRevision) return cached;
    // Read before the list: a change in between makes this listing old, never wrongly new.
    const revision = client.keysRevision;
    const keys = await client.keys(token, options);
    const others = await client.objects(token, options);
    const byHandle = new Map<bigint, Reference>();
    for (const key of keys) {
      const { publicKey, privateKey } = handlesOf(key.keyId);
      byHandle.set(publicKey, { key, half: "public" });
      byHandle.set(privateKey, { key, half: "private" });
    }
    for (const object of others) byHandle.set(handleOf(object), { object, half: "neither" });
    const objects = [...keys.flatMap((key) => this.#write(key)), ...others.map(storedObject)];
    const listing = { revision, objects, byHandle };
    this.#listings.set(token, listing);
    return listing;
  }
}
