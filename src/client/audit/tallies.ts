/** @module Numbers about a history of any length in memory that does not grow with it. */

/**
 * A record for each name, for at most `limit` of them: names are chosen by those who are audited. What
 * has no record is only counted.
 */
export class Tally<T> {
  readonly #records = new Map<string, T>();
  readonly #limit: number;
  #left = 0;

  constructor(limit = 1000) {
    this.#limit = limit;
  }

  /** The name's record, made at its first time; undefined when there is no room for it. */
  of(name: string, make: () => T): T | undefined {
    let record = this.#records.get(name);
    if (record !== undefined) return record;
    if (this.#records.size >= this.#limit) {
      this.#left++;
      return undefined;
    }
    this.#records.set(name, (record = make()));
    return record;
  }

  get(name: string): T | undefined {
    return this.#records.get(name);
  }

  /** In order of appearance. */
  values(): T[] {
    return [...this.#records.values()];
  }

  toJSON(): T[] {
    return this.values();
  }

  /** How often there was no room. */
  get left(): number {
    return this.#left;
  }
}

/** Each bucket is 2 % wider than the one before: so exact are percentiles. */
const growth = Math.log(1.02);
const mostBuckets = 2000;

/** How long things took. */
export class Durations {
  readonly #counts = new Map<number, number>();
  #total = 0;
  #longest = 0;

  add(ms: number): void {
    const bucket = Math.min(mostBuckets, Math.ceil(Math.log(Math.max(1, ms)) / growth));
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
    this.#total++;
    this.#longest = Math.max(this.#longest, ms);
  }

  get count(): number {
    return this.#total;
  }

  get longestMs(): number {
    return this.#longest;
  }

  /** So long or shorter took the given part of all, within 2 %. */
  percentileMs(part: number): number {
    let left = Math.ceil(this.#total * part);
    for (const [bucket, count] of this.#sorted()) {
      left -= count;
      if (left <= 0) return Math.min(this.#longest, Math.round(Math.exp(bucket * growth)));
    }
    return this.#longest;
  }

  toJSON(): object {
    return {
      count: this.#total,
      p50Ms: this.percentileMs(0.5),
      p90Ms: this.percentileMs(0.9),
      p99Ms: this.percentileMs(0.99),
      p999Ms: this.percentileMs(0.999),
      longestMs: this.#longest,
    };
  }

  /** How many took longer than `fromMs`, and at most `toMs`. */
  between(fromMs: number, toMs: number): number {
    return this.#sorted().reduce((sum, [bucket, count]) => {
      const ms = Math.exp(bucket * growth);
      return ms > fromMs && ms <= toMs ? sum + count : sum;
    }, 0);
  }

  #sorted(): [bucket: number, count: number][] {
    return [...this.#counts].toSorted(([one], [other]) => one - other);
  }
}
