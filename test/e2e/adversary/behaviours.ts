/** @module What one lying node of five does, and what everybody learns of it then. */
import { writeFile } from "node:fs/promises";
import { expect } from "chai";
import type { BlameStatus, ClusterStatus } from "../../../src/client/index.js";
import { toBase64url } from "../../../src/identity/encoding.js";
import type { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import type { Lie } from "../liar.js";

const wrong = toBase64url(Buffer.alloc(128, 5));

/** Longer than any client waits before it asks others. */
const slowMs = 8000;

export interface Behaviour {
  readonly name: string;
  readonly lie: Lie;
  /** What the client calls it; the first that is seen. */
  readonly codes: readonly string[];
  readonly isProven: boolean;
  /** Whether the results of signings name it: where its shares could not be used. */
  readonly isInResult: boolean;
}

export const wrongShares: Behaviour = {
  name: "wrong shares",
  lie: (liar, _, honest) => liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) }),
  codes: ["wrong-share", "wrong-proof"],
  isProven: true,
  isInResult: true,
};
/** For whoever has the time. */
export const others: readonly Behaviour[] = [
  { name: "silence", lie: () => undefined, codes: ["silent"], isProven: false, isInResult: false },
  {
    name: "wrong shares that it does not explain",
    lie: (liar, { kind }, honest) => {
      if (kind !== "explain")
        liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) });
    },
    codes: ["wrong-share"],
    isProven: true,
    isInResult: true,
  },
  {
    name: "right shares past the stream, under numbers that it uses again",
    lie: (liar, _, honest) => liar.say(honest, { "Nats-Expected-Last-Sequence": "4000000000" }),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
    isInResult: false,
  },
  {
    name: "slowness",
    lie: (liar, _, honest) => void setTimeout(() => liar.say(honest), slowMs),
    codes: ["silent"],
    isProven: false,
    isInResult: false,
  },
  {
    name: "a forged chain",
    lie: (liar, _, honest) =>
      liar.put(liar.sign(honest, { ...honest, n: 7_000_000, prev: "0".repeat(64) })),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
    isInResult: false,
  },
  {
    name: "answers to other people's requests",
    lie: (liar, _, honest) => liar.say({ ...honest, request: "0".repeat(64) }),
    codes: ["wrong-answer"],
    isProven: false,
    isInResult: false,
  },
  {
    name: "replays",
    lie: (liar, _, honest) => {
      if (liar.first !== undefined)
        liar.put({ ...liar.first, subject: liar.sign(honest, honest).subject });
    },
    codes: ["silent"],
    isProven: false,
    isInResult: false,
  },
];
/** Of a key that asks for share proofs always. */
export const withProofs: readonly Behaviour[] = [
  {
    name: "right shares with wrong proofs",
    lie: (liar, _, honest) => liar.say({ ...honest, proofs: honest.shares ?? [] }),
    codes: ["wrong-proof"],
    isProven: true,
    isInResult: true,
  },
  {
    name: "right shares without the proofs that are due",
    lie: (liar, _, { proofs: _none, ...rest }) => liar.say(rest),
    codes: ["wrong-proof"],
    isProven: true,
    isInResult: true,
  },
];

/** What `thsm status` says, and how it ends. */
export async function statusOf(
  cluster: TestCluster,
  ...parameters: string[]
): Promise<{ code: number; status: ClusterStatus }> {
  const { code, stdout, text } = await cluster.thsm("--json", "status", ...parameters);
  if (code === 2) throw new Error(text);
  return { code, status: JSON.parse(stdout.toString("utf8")) as ClusterStatus };
}

/** n2, and nobody else, is named by `thsm status` and by an event with evidence, with the time. */
export async function expectNamed(
  cluster: TestCluster,
  { codes, isProven }: Behaviour,
  sinceMs: number,
): Promise<BlameStatus> {
  const { code, status } = await statusOf(cluster);
  expect(code).to.equal(3);
  expect(new Set(status.blames.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
  const [blame] = status.blames;
  if (blame === undefined) throw new Error("no blame");
  expect(codes).to.include(blame.code);
  expect(blame.verdict).to.equal(isProven ? "culprit" : "suspect");
  expect(Date.parse(blame.time)).to.be.within(sinceMs, Date.now());

  const history = await readHistory(cluster);
  const event = history.find((one) => one.stream === "THSM_AUDIT" && one.seq === blame.seq);
  if (event === undefined) throw new Error("no event");
  const { node, time, type } = bodyOf(event);
  expect({ node, time, type }).to.deep.equal({
    node: "n2",
    time: blame.time,
    type: "misbehaviour",
  });
  const file = cluster.path("evidence.json");
  await writeFile(file, event.payload);
  const judged = await cluster.thsm("audit", "evidence", file);
  if (isProven) expect(judged.code, judged.text).to.equal(0);
  else expect(judged.code, judged.text).to.be.oneOf([2, 3]);
  return blame;
}
