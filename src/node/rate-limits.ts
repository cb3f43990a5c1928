/**
 * @module How fast a key may sign, as its record says: a bucket of signatures for each key, full at first
 * and refilled evenly. Kept on disk, so that a restart does not fill it.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { IsNumber, Min } from "class-validator";
import { HsmError } from "../errors.js";
import { eraseFile, readIfPresent, writeSecretFile } from "../identity/secret-file.js";
import { IsTime } from "../streams/fields.js";
import { parseJson, validated } from "../validate.js";
import type { KeyEntry } from "./key-directory.js";

/** Part of a bucket that is written off on disk at once: what a crash costs, and how rarely we sync. */
const portions = 20;

/** A bucket as a file holds it. */
class SavedBucket {
  @IsNumber() @Min(0) readonly left!: number;
  @IsTime() readonly time!: string;
}

interface Bucket {
  readonly limit: number;
  readonly periodMs: number;
  /** As on disk: not yet handed out to this process. */
  left: number;
  /** Written off on disk, and not yet used. */
  inHand: number;
  /** When `left` was right, by the process's own clock, which nobody sets. */
  atMs: number;
}

export class RateLimits {
  readonly #directory: string;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  /** The tail of each key's chain: its takings never overlap. */
  readonly #tails = new Map<string, Promise<void>>();

  private constructor(directory: string, now: () => number) {
    this.#directory = directory;
    this.#now = now;
  }

  /** `now`: the machine's clock, which counts only from one life of the node to the next. */
  static async open(dataDir: string, now: () => number): Promise<RateLimits> {
    const directory = join(dataDir, "rates");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new RateLimits(directory, now);
  }

  /**
   * Takes so many signatures out of the key's bucket. Does nothing for a key without a limit.
   * @throws HsmError `ERR_RATE_LIMITED` when there are fewer, and takes none
   */
  async take({ record }: KeyEntry, signatures: number): Promise<void> {
    const { key, rateLimit, ratePeriodSeconds } = record;
    if (rateLimit === undefined || ratePeriodSeconds === undefined) return;
    const before = this.#tails.get(key) ?? Promise.resolve();
    const taken = before.then(() => this.#takeFrom(key, rateLimit, ratePeriodSeconds, signatures));
    // Who is refused hears of it; the next one need not.
    this.#tails.set(
      key,
      taken.catch(() => undefined),
    );
    await taken;
  }

  /** The key is no more. */
  async forget(key: string): Promise<void> {
    await this.#tails.get(key);
    this.#tails.delete(key);
    this.#buckets.delete(key);
    await eraseFile(this.#path(key));
  }

  async #takeFrom(
    key: string,
    limit: number,
    periodSeconds: number,
    signatures: number,
  ): Promise<void> {
    const bucket = this.#buckets.get(key) ?? (await this.#load(key, limit, periodSeconds));
    this.#buckets.set(key, bucket);
    await this.#take(key, bucket, signatures);
  }

  async #take(key: string, bucket: Bucket, signatures: number): Promise<void> {
    refill(bucket);
    const { limit, periodMs } = bucket;
    const missing = signatures - bucket.inHand;
    if (missing > bucket.left) {
      const waitS = Math.ceil(((missing - bucket.left) * periodMs) / limit / 1000);
      throw new HsmError(
        "ERR_RATE_LIMITED",
        `the key signs ${limit} times in ${periodMs / 1000} s on this node; again in ${waitS} s`,
      );
    }
    if (missing > 0) {
      const portion = Math.min(bucket.left, Math.max(missing, Math.ceil(limit / portions)));
      const left = bucket.left - portion;
      const text = JSON.stringify({ left, time: new Date(this.#now()).toISOString() });
      await writeSecretFile(this.#path(key), text);
      bucket.left = left;
      bucket.inHand += portion;
    }
    bucket.inHand -= signatures;
  }

  async #load(key: string, limit: number, periodSeconds: number): Promise<Bucket> {
    const bucket = { limit, periodMs: periodSeconds * 1000, left: limit, inHand: 0 };
    const bytes = await readIfPresent(this.#path(key));
    if (bytes === undefined) return { ...bucket, atMs: performance.now() };
    const { left, time } = validated(SavedBucket, parseJson(bytes), "ERR_INVALID_CONFIG");
    // A clock that was set back gives nothing, one that was set forward a full bucket at most.
    const agoMs = Math.max(0, this.#now() - Date.parse(time));
    return { ...bucket, left, atMs: performance.now() - agoMs };
  }

  #path(key: string): string {
    return join(this.#directory, `${key}.json`);
  }
}

function refill(bucket: Bucket): void {
  const { limit, periodMs, left, inHand, atMs } = bucket;
  const nowMs = performance.now();
  bucket.left = Math.min(limit - inHand, left + ((nowMs - atMs) * limit) / periodMs);
  bucket.atMs = nowMs;
}
