/** @module A wait with an end: for work that knows neither deadline nor AbortSignal. */
import { HsmError } from "../errors.js";

export interface Limits {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** What the caller is told when the deadline comes first. */
  readonly late: () => HsmError;
}

/** What a timer can wait at most. */
const longestMs = 2 ** 31 - 1;

/**
 * The result of `work`, unless the limits come first; it goes on then, unheard.
 * @throws HsmError `ERR_ABORTED`, or what `late` gives
 */
export function within<T>(work: Promise<T>, { deadlineMs, signal, late }: Limits): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const abort = (): void => {
      leave();
      reject(new HsmError("ERR_ABORTED", "the caller gave up"));
    };
    const timer = setTimeout(
      () => {
        leave();
        reject(late());
      },
      Math.min(longestMs, Math.max(0, deadlineMs - Date.now())),
    );
    work.finally(leave).then(resolve, reject);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}
