/** @module How fast one is against the other, on a machine that has other work too: by turns, and for as long as it takes. */

/** What was done in how long. */
export interface Pace {
  readonly count: number;
  readonly ms: number;
}

export interface Compared {
  readonly ratio: number;
  /** Of each round, for who looks into it. */
  readonly rounds: readonly string[];
}

const [leastRounds, mostRounds] = [4, 12];
/** Standard errors between mean and goal, at which a further round would not change the side that it is on. */
const clearBy = 2.5;

/**
 * The geometric mean of the rounds' ratios of the second pace to the first. Ends when it is clear on which side of
 * the goal it is: either way, so that no luck is waited for.
 */
export async function compare(goal: number, round: () => Promise<[Pace, Pace]>): Promise<Compared> {
  const logs: number[] = [];
  const rounds: string[] = [];
  for (;;) {
    const [first, second] = await round();
    const ratio = second.count / second.ms / (first.count / first.ms);
    logs.push(Math.log(ratio));
    rounds.push(`${told(second)} to ${told(first)}: ${ratio.toFixed(2)}`);
    const mean = logs.reduce((sum, one) => sum + one, 0) / logs.length;
    const variance = logs.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (logs.length - 1);
    const isClear = Math.abs(mean - Math.log(goal)) > clearBy * Math.sqrt(variance / logs.length);
    if (logs.length >= mostRounds || (logs.length >= leastRounds && isClear)) {
      return { ratio: Math.exp(mean), rounds };
    }
  }
}

function told({ count, ms }: Pace): string {
  return `${count} in ${Math.round(ms)} ms`;
}
