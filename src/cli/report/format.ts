/** @module Numbers, times and sizes as people read them. Times are in UTC. */

const whole = new Intl.NumberFormat("en-US");

export function count(value: number): string {
  return whole.format(Math.round(value));
}

/** "1 finding", "2 findings". */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function percent(part: number, all: number): string {
  if (all === 0) return "–";
  const value = (100 * part) / all;
  // Neither nothing nor everything unless it is.
  if (part > 0 && value < 0.1) return "< 0.1 %";
  if (part < all && value > 99.9) return "> 99.9 %";
  return `${Number.isInteger(value) ? value : value.toFixed(1)} %`;
}

export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export function bytes(value: number): string {
  const [unit, size] =
    value < 1024
      ? ["B", 1]
      : value < 1024 ** 2
        ? ["KiB", 1024]
        : value < 1024 ** 3
          ? ["MiB", 1024 ** 2]
          : ["GiB", 1024 ** 3];
  return `${unit === "B" ? value : (value / size).toFixed(1)} ${unit}`;
}

/** 2026-03-01 12:00 */
export function minute(time: number | string): string {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}

export function day(time: number | string): string {
  return new Date(time).toISOString().slice(0, 10);
}
