/**
 * @module Charts as SVG that stands in the page. Shapes take their colours from the style sheet by class, so
 * that they follow light, dark and print.
 */
import { count } from "./format.js";
import { markup, type Html } from "./markup.js";

export interface Column {
  /** What it stands for; every few are written below the axis. */
  readonly label: string;
  readonly value: number;
}

export interface ColumnChart {
  readonly id: string;
  readonly title: string;
  /** What the chart shows, in a sentence: for who does not see it. */
  readonly text: string;
  readonly columns: readonly Column[];
}

const width = 720;
const height = 190;
const left = 56;
const right = 24;
const bottom = 26;
const top = 16;

/** Columns over an axis. */
export function columnChart({ id, title, text, columns }: ColumnChart): Html {
  const highest = niceCeiling(Math.max(1, ...columns.map(({ value }) => value)));
  const step = (width - left - right) / Math.max(1, columns.length);
  const plot = height - top - bottom;
  const y = (value: number): number => top + plot * (1 - value / highest);
  const every = Math.max(1, Math.ceil(columns.length / 8));
  return markup`<figure>
    <svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-text">
      <title id="${id}-title">${title}</title>
      <desc id="${id}-text">${text}</desc>
      ${[0, 0.5, 1].map((part) => grid(y(part * highest), part * highest))}
      ${columns.map(({ value, label }, index) => {
        const h = Math.max(value > 0 ? 1.5 : 0, (plot * value) / highest);
        const x = left + index * step;
        return markup`<rect
            class="column"
            x="${fixed(x + step * 0.1)}"
            y="${fixed(top + plot - h)}"
            width="${fixed(step * 0.8)}"
            height="${fixed(h)}"
          >
            <title>${label}: ${count(value)}</title></rect
          >${tick(index, every, x + step / 2, label)}`;
      })}
    </svg>
    <figcaption>${text}</figcaption>
  </figure>`;
}

/** Every other one gives way on narrow screens. */
function tick(index: number, every: number, x: number, label: string): Html {
  if (index % every !== 0) return markup``;
  const kind = (index / every) % 2 === 1 ? "tick minor" : "tick";
  return markup`<text class="${kind}" x="${fixed(x)}" y="${height - 8}">${label}</text>`;
}

function grid(y: number, value: number): Html {
  return markup`<line class="grid" x1="${left}" x2="${width}" y1="${fixed(y)}" y2="${fixed(y)}" />
    <text class="axis" x="${left - 6}" y="${fixed(y + 4)}">${value < 10 ? value : count(value)}</text>`;
}

/** A part of a whole, in a table where the number stands beside it. */
export function bar(value: number, most: number): Html {
  const part = most > 0 ? (100 * value) / most : 0;
  return markup`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rest" width="100" height="10" />
    <rect class="column" width="${fixed(Math.max(part, value > 0 ? 1 : 0))}" height="10" />
  </svg>`;
}

/** How something grew, in a table where its ends stand beside it. */
export function sparkline(values: readonly number[]): Html {
  const most = Math.max(1, ...values);
  const step = 120 / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${fixed(i * step)},${fixed(28 - (26 * value) / most)}`);
  return markup`<svg class="spark" viewBox="0 0 120 30" preserveAspectRatio="none" aria-hidden="true">
    <polygon class="area" points="0,28 ${points.join(" ")} 120,28" />
    <polyline class="line" points="${points.join(" ")}" />
  </svg>`;
}

/** 1, 2 or 5 times a power of ten, halves of which are easy to read. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 4, 6, 10].find((one) => one * power >= value) ?? 10;
  return factor * power;
}

function fixed(value: number): string {
  return String(Math.round(value * 100) / 100);
}
