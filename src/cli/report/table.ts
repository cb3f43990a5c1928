/** @module Tables that a screen reader can walk: a caption, headings with their scope, a head for each row. */
import { markup, type Content, type Html } from "./markup.js";

/** A column's title; `#` first for numbers, which stand to the right. */
export type Title = string;

/** The first cell of each row is its head. Nothing at all without rows. */
export function table(
  caption: Content,
  titles: readonly Title[],
  rows: readonly (readonly Content[])[],
): Html {
  const isNumber = (column: number): boolean => titles[column]?.startsWith("#") === true;
  const kind = (column: number): Content => (isNumber(column) ? markup` class="n"` : "");
  if (rows.length === 0) return markup``;
  return markup`<div class="scroll"><table><caption>${caption}</caption>
<thead><tr>${titles.map((title, column) => markup`<th scope="col"${kind(column)}>${title.replace("#", "")}</th>`)}</tr></thead>
<tbody>
${rows.map(([head, ...cells]) => {
  const rest = cells.map((cell, column) => markup`<td${kind(column + 1)}>${cell}</td>`);
  return markup`<tr><th scope="row">${head}</th>${rest}</tr>\n`;
})}</tbody></table></div>`;
}
