/** @module Words of others on a terminal. Names, labels and reasons are whatever their senders wrote. */

/** The text as one line: what controls a terminal, breaks lines, turns direction or cannot be seen is shown by number. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{C}\u2028\u2029]/gu, shown);
}

function shown(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
