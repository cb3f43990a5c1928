/** @module The keys that are ready to sign: loaded from disk when first used, gone when erased. */
import type { KeyEntry } from "./key-directory.js";
import { bindingOf } from "./enrollment.js";
import type { KeyStore } from "./key-store.js";
import type { PoolKey, SigningPool } from "./signing-pool.js";

export class SigningKeys {
  readonly #store: KeyStore;
  readonly #pool: SigningPool;
  readonly #loaded = new Map<string, Promise<PoolKey>>();

  constructor(store: KeyStore, pool: SigningPool) {
    this.#store = store;
    this.#pool = pool;
  }

  /** @throws HsmError what `KeyStore.load` throws */
  get(entry: KeyEntry): Promise<PoolKey> {
    const { key } = entry.record;
    let loaded = this.#loaded.get(key);
    if (loaded === undefined) {
      loaded = this.#load(entry);
      this.#loaded.set(key, loaded);
      // A file that cannot be read now may be readable later.
      loaded.catch(() => this.#loaded.delete(key));
    }
    return loaded;
  }

  /** Resolves when neither memory nor a thread holds the share. */
  async erase(key: string): Promise<void> {
    const loaded = await this.#loaded.get(key)?.catch(() => undefined);
    this.#loaded.delete(key);
    if (loaded !== undefined) await this.#pool.eraseKey(loaded);
  }

  async #load(entry: KeyEntry): Promise<PoolKey> {
    const group = entry.group();
    return this.#pool.addKey(group, await this.#store.load(bindingOf(entry)));
  }
}
