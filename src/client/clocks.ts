/** @module What a node's clock says less ours, in words: the way of the message counts as well. */

export function compareClocks(node: string, differenceMs: number): string {
  const seconds = Math.round(differenceMs / 1000);
  return `the clock of ${node} is ${Math.abs(seconds)} s ${seconds < 0 ? "behind" : "ahead of"} this host's`;
}
