/** @module Whom a result names: its client's own word, which is believed as far as the record proves it. */

/** Of nodes: those that the client has proven guilty, those that it suspects, and hashes of the messages that show it. */
export interface Named {
  readonly culprits?: readonly string[];
  readonly suspects?: readonly string[];
  readonly evidence?: readonly string[];
}

/** To be put behind what a result says of its signatures; empty when it names nobody. */
export function namedText({ culprits = [], suspects = [] }: Named): string {
  const lists = [
    ...(culprits.length === 0 ? [] : [`CULPRIT ${culprits.join(",")}`]),
    ...(suspects.length === 0 ? [] : [`SUSPECT ${suspects.join(",")}`]),
  ];
  return lists.length === 0 ? "" : `, NAMES ${lists.join(", ")}`;
}
