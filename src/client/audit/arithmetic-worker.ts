/** @module A thread of an audit: signatures of messages, and the arithmetic of signings. */
import type { GroupKey } from "../../scheme/index.js";
import { verifyClaims } from "./claims.js";
import { judgeAll, type Verdict } from "./recombine.js";
import type { SigningJob } from "./signing-job.js";

export type ArithmeticTask =
  | {
      readonly type: "verify";
      readonly identities: readonly string[];
      readonly packed: Uint8Array;
    }
  | {
      readonly type: "judge";
      readonly groups: ReadonlyMap<string, GroupKey>;
      readonly jobs: readonly Omit<SigningJob, "group">[];
    };

/** By key id. What a key's arithmetic needs is kept with the one object that stands for it. */
const known = new Map<string, GroupKey>();
const maxKnown = 1024;

export function runTask(task: ArithmeticTask): boolean[] | Verdict[] {
  if (task.type === "verify") return verifyClaims(task.identities, task.packed);
  const { groups } = task;
  return judgeAll(task.jobs.map((job) => ({ ...job, group: groupOf(job.terms.key, groups) })));
}

function groupOf(key: string, groups: ReadonlyMap<string, GroupKey>): GroupKey {
  const group = known.get(key) ?? groups.get(key);
  if (group === undefined) throw new RangeError(`no group key ${key}`);
  if (known.size >= maxKnown) known.clear();
  known.set(key, group);
  return group;
}
