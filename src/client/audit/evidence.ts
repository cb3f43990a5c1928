/**
 * @module What signed messages prove against a node, to somebody who has cluster.toml and nothing else. The
 * arithmetic is the audit's. What stands on shares also stands on the key's record: on what its dealer
 * proposed and the accused node itself accepted.
 */
import { HsmError } from "../../errors.js";
import type { Cluster } from "../../identity/cluster.js";
import type { GroupKey } from "../../scheme/index.js";
import type { SignedMessage } from "../../streams/envelope.js";
import type { KeyRecord } from "../../streams/key-life.js";
import { readKeyEvent } from "../../streams/open.js";
import { streamNames } from "../../streams/subjects.js";
import { Exhibits, unfit, type Answer, type Link, type Looked } from "./exhibits.js";
import { judge } from "./recombine.js";
import { jobOfInput, type PartyShares, type SigningJob } from "./signing-job.js";
import { sameTerms } from "./signing.js";

/** What can be proven of a node. */
export type Guilt =
  | "wrong-share"
  /** A share proof that does not hold, or none where one is due. */
  | "wrong-proof"
  /** Not as many shares as inputs. */
  | "wrong-terms"
  /** Two messages with one number. */
  | "chain-fork"
  /** A message that does not follow the one before it. */
  | "chain-broken";

export interface Weighed {
  readonly node: string;
  /** Undefined when the messages prove nothing against the node. */
  readonly guilt: Guilt | undefined;
  /** One sentence for a person: what is proven, or why nothing is. */
  readonly text: string;
  /** Hashes of the node's messages that show it; of all of its messages when nothing is proven. */
  readonly shown: readonly string[];
  readonly key: string | undefined;
  /** What was looked at, in its order. */
  readonly messages: readonly Looked[];
}

interface Verdict {
  readonly guilt: Guilt;
  readonly text: string;
  readonly shown: readonly string[];
}

/** What the messages prove against a node. Never throws for what they are. */
export function weigh(cluster: Cluster, node: string, messages: readonly SignedMessage[]): Weighed {
  let exhibits: Exhibits | undefined;
  try {
    exhibits = new Exhibits(cluster, node, messages);
    const verdict = chainVerdict(exhibits.links, node) ?? shareVerdict(exhibits, node);
    const [key] = messages.flatMap((one) => (one.stream === streamNames.keys ? keyOf(one) : []));
    const nothing = {
      guilt: undefined,
      text: `the messages prove nothing against node ${node}`,
      shown: exhibits.links.map(({ hash }) => hash),
    };
    return { node, key, messages: exhibits.looked, ...(verdict ?? nothing) };
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
    const text = `the messages prove nothing against node ${node}: ${error.message}`;
    return {
      node,
      guilt: undefined,
      text,
      shown: [],
      key: undefined,
      messages: exhibits?.looked ?? [],
    };
  }
}

/** A node numbers its messages 1, 2, 3 …, each naming the one before: signed, so it convicts itself. */
export function chainVerdict(links: readonly Link[], node: string): Verdict | undefined {
  const byNumber = new Map<number, Link>();
  for (const link of links) {
    const other = byNumber.get(link.n);
    if (other !== undefined && other.hash !== link.hash) {
      const shown = [other.hash, link.hash];
      return {
        guilt: "chain-fork",
        text: `node ${node} signed two different messages as its number ${link.n}`,
        shown,
      };
    }
    byNumber.set(link.n, link);
  }
  for (const link of byNumber.values()) {
    const before = byNumber.get(link.n - 1);
    if (before !== undefined && before.hash !== link.prev) {
      const shown = [before.hash, link.hash];
      return {
        guilt: "chain-broken",
        text: `node ${node} signed as number ${link.n} a message that does not follow its number ${link.n - 1}`,
        shown,
      };
    }
  }
  return undefined;
}

function shareVerdict(exhibits: Exhibits, node: string): Verdict | undefined {
  const { record, group } = exhibits.key(node);
  const answers = exhibits.answers(record);
  const [first] = answers;
  if (first === undefined) return undefined;
  if (!answers.every(({ request }) => sameTerms(first.request, request))) {
    throw unfit("the requests do not ask for the same signatures");
  }
  const own = answers.filter(({ body }) => body.node === node);
  for (const answer of own) {
    const plain = plainVerdict(answer, node, record, group);
    if (plain !== undefined) return plain;
  }
  const two = own.find(({ body }) => body.shares?.join() !== own[0]?.body.shares?.join());
  if (two !== undefined && own[0] !== undefined) {
    const text = `node ${node} gave two different shares of the same inputs`;
    return { guilt: "wrong-share", text, shown: [own[0].hash, two.hash] };
  }
  return arithmeticVerdict(answers, own, node, group);
}

/** What an answer shows by itself, without the proofs' arithmetic. */
function plainVerdict(
  { body, request, hash }: Answer,
  node: string,
  { proposal }: KeyRecord,
  group: GroupKey,
): Verdict | undefined {
  const shown = [hash];
  const about = `node ${node} answered request ${request.rid} of client ${request.client}`;
  const { shares = [], proofs, party } = body;
  const wanted = request.inputs.length;
  if (shares.length !== wanted) {
    return {
      guilt: "wrong-terms",
      text: `${about} with ${shares.length} shares for ${wanted} inputs`,
      shown,
    };
  }
  const isDue = body.kind === "explanation" || proposal.proofs === "always";
  if (isDue && proofs?.length !== wanted) {
    return { guilt: "wrong-proof", text: `${about} without the share proofs that are due`, shown };
  }
  const job = { group, terms: request, answers: [{ party, shares }], recombine: true };
  if (judge(job).culprits.includes(party)) {
    return { guilt: "wrong-share", text: `${about} with a number that is no share`, shown };
  }
  return undefined;
}

function arithmeticVerdict(
  answers: readonly Answer[],
  own: readonly Answer[],
  node: string,
  group: GroupKey,
): Verdict | undefined {
  const [mine] = own;
  if (mine === undefined) return undefined;
  const { request, body, hash } = mine;
  const { party } = body;
  const base = { group, terms: request, recombine: true } as const;
  const bare = answers.map(({ body: { party: of, shares = [] } }) => ({ party: of, shares }));
  const indices = [...request.inputs.keys()];
  const about = `node ${node} answered request ${request.rid} of client ${request.client}`;
  let off: number | undefined;
  for (const index of indices) {
    const { culprits, suspects } = judge(jobOfInput({ ...base, answers: bare }, index));
    if (culprits.includes(party)) {
      return {
        guilt: "wrong-share",
        text: `${about} with a wrong share of input ${index + 1}, as the other nodes' shares prove`,
        shown: [hash],
      };
    }
    if (suspects.includes(party)) off ??= index;
  }
  // Proofs cost forty times as much: only where they decide.
  const proven = own.find(({ body: { proofs } }) => proofs !== undefined);
  if (proven !== undefined) {
    const answer = provenOf(proven);
    for (const index of off === undefined ? indices : [off]) {
      const job = jobOfInput({ ...base, answers: [answer] }, index);
      if (!judge(job).wrongProofs.includes(party)) continue;
      return {
        guilt: "wrong-proof",
        text: `${about} with a share proof of input ${index + 1} that does not hold`,
        shown: [proven.hash],
      };
    }
    return undefined;
  }
  if (off === undefined) return undefined;
  const others = provenOthers(answers, party, { ...base, answers: [] }, off);
  if (others.length < group.threshold) return undefined;
  const last = bare.filter((one) => one.party === party).slice(0, 1);
  const together = judge(jobOfInput({ ...base, answers: [...others, ...last] }, off));
  if (![...together.culprits, ...together.suspects].includes(party)) return undefined;
  return {
    guilt: "wrong-share",
    text: `${about} with a wrong share of input ${off + 1}, as the share proofs of ${others.length} other nodes show`,
    shown: [hash],
  };
}

/** Threshold many other parties whose shares of an input are proven right. */
function provenOthers(
  answers: readonly Answer[],
  party: number,
  base: SigningJob,
  index: number,
): PartyShares[] {
  const found = new Map<number, PartyShares>();
  for (const answer of answers) {
    const { party: of, proofs } = answer.body;
    if (of === party || proofs === undefined || found.has(of)) continue;
    if (found.size === base.group.threshold) break;
    const { culprits, wrongProofs } = judge(
      jobOfInput({ ...base, answers: [provenOf(answer)] }, index),
    );
    const { shares = [] } = answer.body;
    if (culprits.length === 0 && wrongProofs.length === 0) found.set(of, { party: of, shares });
  }
  return [...found.values()];
}

function provenOf({ body: { party, shares = [], proofs = [] } }: Answer): PartyShares {
  return { party, shares, proofs };
}

function keyOf(message: SignedMessage): string {
  const { key = "" } = readKeyEvent(message) ?? {};
  return key;
}
